"""Workers of RQ that deliver the records of each job, with the context of the job.

RQ runs each job in a process of its own, which it ends by `os._exit`: no exit hook of Python runs there. These workers
deliver at the end of a job. For a class of your own, put `JobMixin` before RQ's class.
"""

from __future__ import annotations

from typing import Any

import rq.worker

from emitkit_logging import context
from emitkit_logging._worker.lifecycle import deliver_all


class JobMixin:
    """Gives the records of a job its context, and delivers them before the process of the job ends.

    The context has the job's function, its id and its queue (`server.job`, `server.jobId`, `server.queue`).
    """

    def perform_job(self, job: Any, queue: Any, *args: Any, **kwargs: Any) -> bool:
        """Run a job; RQ calls this in the process of the job.

        Args:
            job: RQ's job.
            queue: the queue that it was taken from.
            *args, **kwargs: what else the version of RQ passes.

        Returns:
            Whether the job succeeded.
        """
        try:
            with context.scope({"server": _described(job, queue)}):
                is_done: bool = super().perform_job(job, queue, *args, **kwargs)  # type: ignore[misc]
        finally:
            if self.is_horse:  # type: ignore[attr-defined]
                deliver_all()
        return is_done


class Worker(JobMixin, rq.worker.Worker):
    """RQ's `Worker`, which forks a process for each job."""


class SimpleWorker(JobMixin, rq.worker.SimpleWorker):
    """RQ's `SimpleWorker`, which runs the jobs in its own process."""


if hasattr(rq.worker, "SpawnWorker"):

    class SpawnWorker(JobMixin, rq.worker.SpawnWorker):
        """RQ's `SpawnWorker`, which starts a new interpreter for each job."""


def _described(job: Any, queue: Any) -> dict[str, str]:
    server = {"jobId": str(job.id), "queue": str(queue.name)}
    try:
        server["job"] = str(job.func_name)
    except Exception:  # the job was sent by another version of the application, or with another serializer
        return server
    return server

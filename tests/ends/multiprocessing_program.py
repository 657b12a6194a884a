"""A program whose children, made in each way that multiprocessing has, log; see test_multiprocessing.py.

Its arguments: the start method, and where the handler is made: `parent`, `top`, `child` or `initializer`.
"""

import concurrent.futures
import logging.config
import multiprocessing
import os
import sys
import threading

method, place = sys.argv[1:3]
log = logging.getLogger("shop")


def configure():
    handler = {"class": "emitkit_logging.EmitKitHandler", "spool": os.environ.get("SPOOL")}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"emitkit": handler},
            "root": {"level": "INFO", "handlers": ["emitkit"]},
        }
    )


def report(name):
    log.info("done", extra={"event": name})


def work(name):
    if place == "child" and not logging.getLogger().handlers:
        configure()
    report(name)


def work_in_thread(name):
    """Return while a thread of the child has not logged yet."""
    work(f"{name}a")
    main = threading.main_thread()
    threading.Thread(target=lambda: (main.join(0.2), report(f"{name}b"))).start()


if place == "top":
    configure()

if __name__ == "__main__":
    if place == "parent":
        configure()
        report("begin")
    multiprocess = multiprocessing.get_context(method)
    initializer = configure if place == "initializer" else None
    if place != "initializer":
        children = [multiprocess.Process(target=work, args=(f"process{n}",)) for n in range(2)]
        children.append(multiprocess.Process(target=work_in_thread, args=("thread",)))
        for child in children:
            child.start()
        for child in children:
            child.join()
    pool = multiprocess.Pool(2, initializer)
    pool.map(work, [f"pool{n}" for n in range(4)], 1)
    pool.close()
    pool.join()
    with concurrent.futures.ProcessPoolExecutor(2, multiprocess, initializer) as executor:
        list(executor.map(work, [f"executor{n}" for n in range(4)]))

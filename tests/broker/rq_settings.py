"""Settings of an RQ worker, which configure logging before it forks; see test_rq.py."""

import logging.config
import os

if os.environ["PLACE"] == "worker":
    from rq_jobs import LOGGING

    logging.config.dictConfig(LOGGING)

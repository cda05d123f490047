"""What an installation does now and then by the wall."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

from lunchong.office import FOR_NOW

log = logging.getLogger(__name__)


class Jobs:
    """APScheduler ticks, one instance of a job at a time; many missed ticks are made up by one."""

    def __init__(self) -> None:
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(job_defaults={"coalesce": True, "misfire_grace_time": None})

    def every(self, seconds: float, job: Callable[[], object], *, at_once: bool = False) -> None:
        """Call `job` again and again, first after that time. What it cannot do for now is said once, not each time."""
        said = ""

        def tried() -> None:
            nonlocal said
            try:
                job()
                said = ""
            except FOR_NOW as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("%s", said)

        first = {"next_run_time": datetime.now(UTC)} if at_once else {}
        self._scheduler.add_job(tried, "interval", seconds=seconds, max_instances=1, **first)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

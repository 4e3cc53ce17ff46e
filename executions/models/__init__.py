from executions.models.execution import PHASE_TIMES, Artifact, Execution, InputFile, Mode, Outcome, Status
from executions.models.hourly import DailyCount, DailyTime, HourlyCount, HourlyTime, Rollup
from executions.models.output import OutputChunk
from executions.models.provenance import STARTED_BY, STARTED_FROM
from executions.models.searches import SavedSearch

__all__ = [
    "PHASE_TIMES",
    "STARTED_BY",
    "STARTED_FROM",
    "Artifact",
    "DailyCount",
    "DailyTime",
    "Execution",
    "HourlyCount",
    "HourlyTime",
    "InputFile",
    "Mode",
    "Outcome",
    "OutputChunk",
    "Rollup",
    "SavedSearch",
    "Status",
]

"""The processors a flow can use, by the name its configuration calls them. A third party adds its own class to the table.

`switch`, `try` and `catch` are not among them: `setpoint.flows.pipeline` makes states and arcs of those.
"""

from __future__ import annotations

from setpoint.flows.component import Fields, Kind, Processor
from setpoint.flows.processors.batch import Batch
from setpoint.flows.processors.branch import BranchFields, branch
from setpoint.flows.processors.dedupe import Dedupe
from setpoint.flows.processors.downsampler import Downsampler
from setpoint.flows.processors.envelope import EnvelopeFields, envelope
from setpoint.flows.processors.log import Log
from setpoint.flows.processors.machine import Machine, MachineFields
from setpoint.flows.processors.mapping import MappingFields, MutationFields, mapping
from setpoint.flows.processors.nodered_js import NodeRedJs
from setpoint.flows.processors.noop import Noop
from setpoint.flows.processors.rate_limit import RateLimit
from setpoint.flows.processors.stream_processor import StreamProcessor
from setpoint.flows.processors.tag_processor import TagProcessor
from setpoint.flows.processors.unarchive import Unarchive

PROCESSORS: dict[str, Kind[Processor]] = {
    "batch": Kind(Batch.Fields, Batch),
    "bloblang": Kind(MappingFields, mapping),
    "branch": Kind(BranchFields, branch),
    "dedupe": Kind(Dedupe.Fields, Dedupe),
    "downsampler": Kind(Downsampler.Fields, Downsampler),
    "envelope": Kind(EnvelopeFields, envelope),
    "log": Kind(Log.Fields, Log),
    "machine": Kind(MachineFields, Machine),
    "mapping": Kind(MappingFields, mapping),
    "mutation": Kind(MutationFields, mapping),
    "nodered_js": Kind(NodeRedJs.Fields, NodeRedJs),
    "noop": Kind(Fields, Noop),
    "rate_limit": Kind(RateLimit.Fields, RateLimit),
    "stream_processor": Kind(StreamProcessor.Fields, StreamProcessor),
    "tag_processor": Kind(TagProcessor.Fields, TagProcessor),
    "unarchive": Kind(Unarchive.Fields, Unarchive),
}

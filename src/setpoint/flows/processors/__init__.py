"""The processors a flow can use, by the name its configuration calls them. A third party adds its own class to the table."""

from __future__ import annotations

from setpoint.flows.component import Kind, Processor
from setpoint.flows.processors.downsampler import Downsampler
from setpoint.flows.processors.nodered_js import NodeRedJs
from setpoint.flows.processors.tag_processor import TagProcessor

PROCESSORS: dict[str, Kind[Processor]] = {
    "downsampler": Kind(Downsampler.Fields, Downsampler),
    "nodered_js": Kind(NodeRedJs.Fields, NodeRedJs),
    "tag_processor": Kind(TagProcessor.Fields, TagProcessor),
}

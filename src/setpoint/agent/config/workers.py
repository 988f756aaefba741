"""The ``workers`` section: workers of any type, of one's own as much as of those that are built in. UMH Core has no such section.

workers:
  - name: furnace-watch
    type: furnace                  # an entry point "setpoint.workers" of an installed package, or a built-in type
    desiredState: active
    after: [gateway]               # other workers of this section that start before it
    variables: {IP: 10.0.0.5}
    spec: {address: "{{ .IP }}"}   # rendered for each worker, then read as the type that the worker declares
"""

from __future__ import annotations

from setpoint.agent.config.bridges import desired, name_of
from setpoint.agent.config.model import Item
from setpoint.configfile.fields import Fields
from setpoint.configfile.node import plain
from setpoint.control.variables import RESERVED


def read_worker(item: Fields) -> Item | None:
    """One worker, or None when it has no name or type."""
    name, kind = name_of(item), item.text("type", required="the type of the worker")
    wanted = desired(item, default="active")
    with item.fields("variables") as given:
        for variable, _, place in given.all():
            if variable in RESERVED:
                place.error(given.mark_of(variable), f"the variable name {variable!r} is reserved", "rename it")
        variables = {variable: plain(node) for variable, node, _ in given.all()}
    spec = item.get("spec")
    after = item.texts("after")
    if not name or not kind:
        return None
    return Item(name, kind, plain(spec) if spec else None, variables, tuple(after), wanted, line=item.mark[0])

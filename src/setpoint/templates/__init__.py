"""Templates in configs and specs: the part of Go's text/template that config files use, in strict mode.

A template is parsed once into a small tree (`lexer`, `parser`) and rendered against the variables of each item (`evaluate`,
`functions`). A missing variable is an error that names it and what there is instead, nothing is ever printed as ``<no value>``, and a
budget bounds what a template may do, so that a hostile one ends. Source of the language: pkg.go.dev/text/template.

    parse('opc.tcp://{{ .IP }}:{{ .PORT }}').render({"IP": "10.0.0.5", "PORT": 4840}, Budget())
"""

from setpoint.templates.evaluate import Template
from setpoint.templates.functions import Budget
from setpoint.templates.lexer import MissingVariable, TemplateError
from setpoint.templates.parser import parse_tree


def parse(text: str) -> Template:
    """The template of a text. Raises `TemplateError` when the text is not a template of the subset that is understood."""
    return Template(text, parse_tree(text))


__all__ = ["Budget", "MissingVariable", "Template", "TemplateError", "parse"]

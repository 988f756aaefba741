"""Functions of a machine for records: registered, built in, imported, composed, or written in the file as code.

`Functions` is the registry, and `resolver` what a plan asks. The folder has one concept a file: `calling` (how a function is called),
`library` (what is built in: `validators`, `transformers`), `schema` and `jsonschema` (what a record must look like), `compose`,
`guards` and `concurrent` (functions around others), `references` (how files name functions), and the three languages of code:
`expressions`, `javascript`, `python`.
"""

from setpoint.data.functions.references import read_reference
from setpoint.data.functions.registry import Functions, resolver
from setpoint.data.functions.schema import compile_record_schema

__all__ = ["Functions", "compile_record_schema", "read_reference", "resolver"]

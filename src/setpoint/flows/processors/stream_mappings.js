// Evaluates the mappings of a stream processor (see stream_values.py). Evaluates to a function of the mappings, [text, alias…] each, which gives
// the function that is called for every message: JSON list of [number of the mapping, value…] in; JSON list of [value] or [null, fault] out.
(function (mappings) {
  "use strict";
  var parse = JSON.parse, stringify = JSON.stringify, finite = isFinite, text = String, isArray = Array.isArray;

  var functions = mappings.map(function (mapping) {
    return Function.apply(null, mapping.slice(1).concat('"use strict"; return (' + mapping[0] + "\n);"));
  });

  function wrong(value) {
    if (value === undefined) return "gave undefined; null publishes nothing";
    if (typeof value === "number") return finite(value) ? "" : "gave " + value + ", which is not a value";
    if (value === null || typeof value === "string" || typeof value === "boolean") return "";
    return "gave " + (isArray(value) ? "a list" : typeof value === "object" ? "an object" : "a " + typeof value)
      + "; expected a number, a text, a truth value, or null to publish nothing";
  }

  function outcome(asked) {
    try {
      var value = functions[asked[0]].apply(undefined, asked.slice(1)), fault = wrong(value);
    } catch (thrown) {
      fault = text(thrown);
    }
    return fault ? [null, fault] : [value];
  }

  return function (input) {
    return stringify(parse(input).map(outcome));
  };
})

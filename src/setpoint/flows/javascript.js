// Runs the stages of a script on one message (see javascript.py). Evaluates to a function of the stages, [name, body, condition] each, which
// gives the function that is called for every message: JSON {payload, meta} in; JSON list of {p, m} out, p absent where the payload is as it was.
(function (stages) {
  "use strict";
  var parse = JSON.parse, stringify = JSON.stringify, isArray = Array.isArray, keys = Object.keys, text = String, finite = isFinite;

  stages = stages.map(function (stage) {
    return {
      name: stage[0],
      run: new Function("msg", stage[1]),
      when: stage[2] ? new Function("msg", "return (" + stage[2] + "\n);") : null,
    };
  });

  function metaOf(msg) {
    var given = msg.meta, found = Object.create(null);
    if (given === null || given === undefined) return found;
    keys(given).forEach(function (key) {
      var value = given[key];
      if (value === null || value === undefined) return;
      found[key] = typeof value === "string" ? value : typeof value === "object" ? stringify(value) : text(value);
    });
    return found;
  }

  function step(stage, messages) {
    var next = [];
    messages.forEach(function (msg) {
      var out = msg;
      try {
        if (stage.when === null || stage.when(msg)) out = stage.run(msg);
      } catch (fault) {
        throw new Error(stage.name + ": " + fault);
      }
      (isArray(out) ? out : [out]).forEach(function (one) {
        if (one === null || one === undefined) return;
        if (typeof one !== "object" || isArray(one)) {
          throw new Error(stage.name + ": returned " + stringify(one) + "; return msg, a list of messages, or null");
        }
        next.push(one);
      });
    });
    return next;
  }

  return function (input) {
    var msg = parse(input), before = stringify(msg.payload), messages = [msg];
    stages.forEach(function (stage) { messages = step(stage, messages); });
    return stringify(messages.map(function (one) {
      var payload = one.payload === undefined ? null : one.payload;
      if (typeof payload === "number" && !finite(payload)) throw new Error("the payload became " + payload + ", which is not a value");
      return stringify(payload) === before ? {m: metaOf(one)} : {p: payload, m: metaOf(one)};
    }));
  };
})

// Runs the stages of a script on one message (see javascript.py). Evaluates to a function of the stages, [name, body, condition] each, which
// gives the function that is called for every message: JSON {payload, meta} in; JSON list of {p, m} out, p absent where the payload is as it was.
(function (stages) {
  "use strict";
  var parse = JSON.parse, stringify = JSON.stringify, isArray = Array.isArray, keys = Object.keys, text = String, finite = isFinite;

  var console = {};
  ["log", "debug", "info", "warn", "error"].forEach(function (name) { console[name] = function () {}; });
  globalThis.console = console;

  // The engine's time limit does not reach into a regular expression at work. So one that can take exponentially long is refused, and the
  // text it is given is bounded by how many repetitions it has. All methods of strings and expressions go through exec.
  var exec = RegExp.prototype.exec, limits = Object.create(null);
  RegExp.prototype.exec = function (subject) {
    var limit = limits[this.source];
    if (limit === undefined) limit = limits[this.source] = longestText(this.source);
    subject = text(subject);
    if (subject.length > limit) {
      throw new Error(limit < 0
        ? "the regular expression " + this + " repeats what itself repeats or branches, which can take for ever; write it without"
        : "the regular expression " + this + " was given " + subject.length + " characters; with its repetitions at most " + limit + " are safe");
    }
    return exec.call(this, subject);
  };

  // How long a text the expression may be given: -1 for none at all.
  function longestText(source) {
    var groups = [], inner = {risky: false}, repetitions = 0, at = 0;
    while (at < source.length) {
      var letter = source[at], closed = null;
      if (letter === "\\") at += 2;
      else if (letter === "[") at = endOfClass(source, at);
      else if (letter === "(") { groups.push(inner); inner = {risky: false}; at += 1; continue; }
      else if (letter === "|") { inner.risky = true; at += 1; continue; }
      else if (letter === ")") { closed = inner; inner = groups.pop() || {risky: false}; at += 1; }
      else at += 1;
      var repeat = exec.call(/^(?:[*+]|\{(\d+)(?:,(\d*))?\})\??/, source.slice(at, at + 20));
      if (repeat !== null) {
        var most = repeat[1] === undefined || repeat[2] === "" ? Infinity : Number(repeat[2] === undefined ? repeat[1] : repeat[2]);
        at += repeat[0].length;
        if (closed !== null && closed.risky && most > 8) return -1;
        if (most > 8) { repetitions += 1; inner.risky = true; }
      }
      if (closed !== null && closed.risky) inner.risky = true;
    }
    return repetitions === 0 ? Infinity : [100000, 5000][repetitions - 1] || 1000;
  }

  function endOfClass(source, at) {
    for (at += 1; at < source.length && source[at] !== "]"; at += 1) if (source[at] === "\\") at += 1;
    return at + 1;
  }

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

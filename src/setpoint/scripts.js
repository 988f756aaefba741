// Evaluated once in every engine, before the program (see scripts.py): takes out what a script could use to hang the process.
(function () {
  "use strict";
  var text = String;

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
})();

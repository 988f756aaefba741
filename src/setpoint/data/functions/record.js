// Runs a function on one record (see javascript.py). Evaluates to a function of [body, role], which gives the function that is called for
// every record: JSON in, JSON out. What comes out is one of
//   {a: true|false, b: reason}     the answer of a condition, gate or validator
//   {c: {…}, g: […]}               fields changed and fields gone, of a record that stays a mapping
//   {v: value}                     another record      {s: [values]}  several      {d: 1}  dropped
(function (given) {
  "use strict";
  var parse = JSON.parse, stringify = JSON.stringify, isArray = Array.isArray, keys = Object.keys, finite = isFinite;
  var create = Object.create;
  var DROP = Object.freeze({});
  function Several(records) { this.records = records; }
  function several(records) {
    if (!isArray(records)) throw new Error("several() takes a list of records");
    return new Several(records);
  }

  var run = new Function("record", "DROP", "several", '"use strict"; ' + given[0]);
  return given[1] === "transform" ? transform : answer;

  function answer(input) {
    var said = run(parse(input), DROP, several);
    if (typeof said === "boolean") return said ? '{"a":true}' : '{"a":false}';
    if (said !== null && typeof said === "object" && typeof said.ok === "boolean") {
      return stringify({a: said.ok, b: said.because === undefined ? "" : "" + said.because});
    }
    if (given[1] === "condition" && said !== undefined) return said ? '{"a":true}' : '{"a":false}';
    throw new Error("returned " + shown(said) + "; a " + given[1] + " returns true, false, or {ok: false, because: 'a reason'}");
  }

  function transform(input) {
    var record = parse(input), fields = isFields(record), before = fields ? texts(record) : null;
    var out = run(record, DROP, several);
    if (out === undefined) out = record;
    if (out === DROP) return '{"d":1}';
    if (out instanceof Several) return '{"s":[' + out.records.map(text).join(",") + "]}";
    if (out === null) throw new Error("returned null; return the record, nothing if it was changed in place, or DROP to drop it");
    if (fields && isFields(out)) return difference(before, out);
    if (fields) throw new Error("returned " + shown(out) + "; return a record, or several([...]) to split it");
    return '{"v":' + text(out) + "}";
  }

  function isFields(value) { return value !== null && typeof value === "object" && !isArray(value); }

  function texts(record) {
    var found = create(null), names = keys(record);
    for (var at = 0; at < names.length; at += 1) found[names[at]] = stringify(record[names[at]]);
    return found;
  }

  function difference(before, out) {
    var changed = "", gone = [], names = keys(out), now = create(null);
    for (var at = 0; at < names.length; at += 1) {
      var name = names[at], value = stringify(out[name]);
      if (value === undefined) continue;
      now[name] = true;
      if (value === before[name]) continue;
      if (value.indexOf("null") >= 0) refuseNoValues(out[name]);
      changed += (changed === "" ? "" : ",") + stringify(name) + ":" + value;
    }
    for (var key in before) if (now[key] === undefined) gone.push(key);
    return '{"c":{' + changed + (gone.length === 0 ? "}}" : '},"g":' + stringify(gone) + "}");
  }

  function text(value) {
    var found = stringify(value);
    if (found === undefined) throw new Error("gave " + shown(value) + ", which is no record");
    if (found.indexOf("null") >= 0) refuseNoValues(value);
    return found;
  }

  // JSON makes null of a number that is none.
  function refuseNoValues(value) {
    stringify({"": value}, function (key, item) {
      if (typeof item === "number" && !finite(item)) throw new Error("a value became " + item + ", which is no value");
      return item;
    });
  }

  function shown(value) {
    if (value === undefined) return "nothing";
    return typeof value === "function" ? "a function" : (stringify(value) || "" + value).slice(0, 60);
  }
})

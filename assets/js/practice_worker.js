// The reader's Python, in a worker of its own: whatever it does, the page stays usable and Stop ends it.
// A message {source, name, calls} runs the source and then, if there is a name, that function once for each call.

import { loadMicroPython } from "../vendor/micropython/micropython.mjs";

const MOST = 20_000; // characters of what is printed; more is left out
const MEMORY = 128 * 2 ** 20; // bytes

// Python's heap grows as it needs; beyond this it is told that there is no more, and raises a MemoryError.
const grow = WebAssembly.Memory.prototype.grow;
WebAssembly.Memory.prototype.grow = function (pages) {
  if (this.buffer.byteLength + pages * 65536 > MEMORY) throw new RangeError("the limit of this page");
  return grow.call(this, pages);
};

// In JSON a float travels as text, which tells 1.0 from 1 and can be nan or inf.
const HARNESS = `
import json

def _given(value):
    if isinstance(value, list):
        return [_given(each) for each in value]
    return float(value) if isinstance(value, str) else value

def _plain(value):
    if value is None or isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return {"type": type(value).__name__}

def _call():
    return json.dumps(_plain(_space[_name](*_given(json.loads(_args)))))

def _input(*_):
    raise EOFError("nobody answers input() here: write the value into the code")

_space = {"__name__": "your code", "input": _input}
`;

let printed = 0;
const decoder = new TextDecoder();
let waiting = "";

function print(bytes) {
  const text = decoder.decode(bytes, { stream: true });
  if (printed <= MOST) waiting += text;
  printed += text.length;
  if (text.includes("\n")) flush();
}

function flush() {
  if (waiting) postMessage({ print: waiting });
  waiting = "";
}

/** Run it; null, or the error that came of it. */
function attempt(python, code) {
  try {
    python.runPython(code);
    return null;
  } catch (error) {
    return { kind: error.type ?? "RuntimeError", trace: String(error.message) };
  }
}

onmessage = ({ data }) => answer(data).catch((error) => postMessage({ failed: error.message }));

async function answer({ source, name, calls }) {
  const python = await loadMicroPython({ stdout: print, linebuffer: false });
  postMessage({ loaded: true });
  python.runPython(HARNESS);
  python.globals.set("_source", source);
  const error = attempt(python, 'exec(compile(_source, "your code", "exec"), _space)');
  const outcomes = [];
  if (name && !error) {
    python.globals.set("_name", name);
    for (const args of calls) {
      python.globals.set("_args", JSON.stringify(args));
      const raised = attempt(python, "_answer = _call()");
      outcomes.push(raised ? { error: raised } : { value: JSON.parse(python.globals.get("_answer")) });
    }
  }
  flush();
  const defined = !name || error !== null || attempt(python, "_space[_name]") === null;
  postMessage({ done: { error, outcomes, defined, left: Math.max(0, printed - MOST) } });
}

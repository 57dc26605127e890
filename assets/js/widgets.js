// Widgets on the static page: no kernel, so each `.course-widget` carries its state, and this file answers for the model.
// A widget's module (`_static/<name>.js`) is the same file that Jupyter and Colab run.

const root = new URL(document.documentElement.dataset.content_root ?? "./", document.baseURI);

function createModel(state) {
  const listeners = new Map();
  const emit = (name, ...args) => [...(listeners.get(name) ?? [])].forEach((callback) => callback(...args));
  const model = {
    get: (name) => state[name],
    set(name, value) {
      const same = JSON.stringify(state[name]) === JSON.stringify(value);
      state[name] = value;
      if (same) return;
      emit(`change:${name}`, model, value);
      emit("change", model);
    },
    on: (name, callback) => void listeners.set(name, (listeners.get(name) ?? new Set()).add(callback)),
    off: (name, callback) => void (callback ? listeners.get(name)?.delete(callback) : listeners.delete(name)),
    save_changes() {}, // nobody to tell
  };
  return model;
}

async function start(host) {
  try {
    const { default: widget } = await import(new URL(`_static/${host.dataset.widget}.js`, root));
    const el = document.createElement("div");
    await widget.render({ model: createModel(JSON.parse(host.dataset.state)), el });
    host.replaceChildren(el);
    host.classList.add("course-widget-live");
  } catch (error) {
    const line = document.createElement("p");
    line.className = "course-widget-failed";
    line.textContent = `The interactive version could not be loaded (${error.message}); the text above says what it shows.`;
    host.append(line);
    host.classList.add("course-widget-static");
  }
}

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    start(target);
  }
}, { rootMargin: "600px" });
document.querySelectorAll(".course-widget[data-widget]").forEach((host) => near.observe(host));

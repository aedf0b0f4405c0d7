// The 51 sliders: grouped, left beside right, each with a tick at the fitted value.

import { clamp, GROUPS, NAMES, partner } from "./blendshapes.js";

/**
 * Builds them into `container`, disabled until `enable` is called.
 *
 * @param {(expression: Object<string, number>, final: boolean) => void} onMove called when a person moves one
 * @param {HTMLInputElement} together whether left and right move as one
 */
export function buildSliders(container, together, onMove) {
  const sliders = {};
  const roomy = matchMedia("(min-width: 60rem)").matches;
  for (const { title, shapes } of GROUPS) {
    const group = element("details", { className: "group", open: roomy || title === "Mouth" });
    const summary = element("summary", { textContent: title });
    const count = element("span", { className: "count", textContent: shapes.flatMap((shape) => shape.names).length });
    summary.append(count);
    const rows = element("fieldset", { disabled: true });
    rows.append(element("legend", { className: "unseen", textContent: title }), ...shapes.map((shape) => row(shape, sliders)));
    group.append(summary, rows);
    container.append(group);
  }

  const get = () => Object.fromEntries(NAMES.map((name) => [name, Number(sliders[name].value)]));
  const put = (name, value) => {
    const slider = sliders[name];
    slider.value = clamp(value);
    show(slider);
  };
  const moved = (slider, final) => {
    const other = together.checked && partner(slider.name);
    if (other) put(other, slider.value);
    show(slider);
    onMove(get(), final);
  };
  container.addEventListener("input", ({ target }) => moved(target, false));
  container.addEventListener("change", ({ target }) => moved(target, true));
  container.addEventListener("keydown", (event) => {
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    if (!sliders[event.target.name]) return;
    event.preventDefault();
    event.target.value = event.target.dataset.fitted ?? 0;
    moved(event.target, true);
  });

  return {
    get,
    set(expression) {
      for (const name of NAMES) put(name, expression[name]);
    },
    /** Ticks at the values that the photo was fitted with. */
    mark(expression) {
      for (const name of NAMES) {
        sliders[name].dataset.fitted = expression[name];
        sliders[name].parentElement.style.setProperty("--fitted", expression[name]);
      }
    },
    enable(on) {
      for (const rows of container.querySelectorAll("fieldset")) rows.disabled = !on;
    },
  };
}

function row({ label, names }, sliders) {
  const line = element("div", { className: names.length > 1 ? "shape pair" : "shape" });
  const stem = names.length > 1 && partner(names[0]) ? names[0].replace(/Right$/, "") : names.join(" ");
  const head = element("p", { textContent: label });
  head.append(element("code", { textContent: stem }));
  line.append(head, ...names.map((name) => cell(name, label, names.length > 1, sliders)));
  return line;
}

function cell(name, label, paired, sliders) {
  const side = name.endsWith("Left") ? "left" : "right";
  const slider = element("input", { type: "range", id: name, name, min: 0, max: 1, step: 0.01, value: 0, title: name });
  slider.setAttribute("aria-label", paired ? `${label}, ${side} (${name})` : `${label} (${name})`);
  const output = element("output", { textContent: "0.00" });
  output.setAttribute("for", name);
  output.setAttribute("aria-hidden", "true"); // the slider says it itself
  const whole = element("div", { className: "cell" });
  if (paired) {
    const mark = element("span", { className: "side", textContent: side[0].toUpperCase() });
    mark.setAttribute("aria-hidden", "true");
    whole.append(mark);
  }
  const track = element("span", { className: "track" });
  track.append(slider);
  whole.append(track, output);
  sliders[name] = slider;
  show(slider);
  return whole;
}

function show(slider) {
  slider.style.setProperty("--value", slider.value);
  const output = slider.parentElement.parentElement?.querySelector("output");
  if (output) output.textContent = Number(slider.value).toFixed(2);
}

const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

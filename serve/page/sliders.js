// The 51 sliders: in groups, left and right side by side, each with a tick at the fitted value.

import { clamp, GROUPS, mirrored, NAMES } from "./blendshapes.js";

/**
 * Creates them in `container`, disabled until `setEnabled` is called.
 *
 * @param {(expression: Object<string, number>, final: boolean) => void} onMove called when the user moves a slider
 * @param {HTMLInputElement} linked whether left and right move together
 */
export function createSliders(container, linked, onMove) {
  const sliders = {};
  const wideScreen = matchMedia("(min-width: 60rem)").matches;
  for (const { title, shapes } of GROUPS) {
    const group = element("details", { className: "group", open: wideScreen || title === "Mouth" });
    const summary = element("summary", { textContent: title });
    const count = element("span", { className: "count", textContent: shapes.flatMap((shape) => shape.names).length });
    summary.append(count);
    const rows = element("fieldset", { disabled: true });
    rows.append(element("legend", { className: "visually-hidden", textContent: title }), ...shapes.map((shape) => createRow(shape, sliders)));
    group.append(summary, rows);
    container.append(group);
  }

  const get = () => Object.fromEntries(NAMES.map((name) => [name, Number(sliders[name].value)]));
  const setValue = (name, value) => {
    const slider = sliders[name];
    slider.value = clamp(value);
    showValue(slider);
  };
  const handleMove = (slider, final) => {
    const other = linked.checked && mirrored(slider.name);
    if (other) setValue(other, slider.value);
    showValue(slider);
    onMove(get(), final);
  };
  container.addEventListener("input", ({ target }) => handleMove(target, false));
  container.addEventListener("change", ({ target }) => handleMove(target, true));
  container.addEventListener("keydown", (event) => {
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    if (!sliders[event.target.name]) return;
    event.preventDefault();
    event.target.value = event.target.dataset.fitted ?? 0;
    handleMove(event.target, true);
  });

  return {
    get,
    set(expression) {
      for (const name of NAMES) setValue(name, expression[name]);
    },
    /** Sets the ticks of the fitted values. */
    setFitted(expression) {
      for (const name of NAMES) {
        sliders[name].dataset.fitted = expression[name];
        sliders[name].parentElement.style.setProperty("--fitted", expression[name]);
      }
    },
    setEnabled(enabled) {
      for (const rows of container.querySelectorAll("fieldset")) rows.disabled = !enabled;
    },
  };
}

function createRow({ label, names }, sliders) {
  const line = element("div", { className: names.length > 1 ? "shape pair" : "shape" });
  const stem = names.length > 1 && mirrored(names[0]) ? names[0].replace(/Right$/, "") : names.join(" ");
  const head = element("p", { textContent: label });
  head.append(element("code", { textContent: stem }));
  line.append(head, ...names.map((name) => createSlider(name, label, names.length > 1, sliders)));
  return line;
}

function createSlider(name, label, paired, sliders) {
  const side = name.endsWith("Left") ? "left" : "right";
  const slider = element("input", { type: "range", id: name, name, min: 0, max: 1, step: 0.01, value: 0, title: name });
  slider.setAttribute("aria-label", paired ? `${label}, ${side} (${name})` : `${label} (${name})`);
  const output = element("output", { textContent: "0.00" });
  output.setAttribute("for", name);
  output.setAttribute("aria-hidden", "true"); // the slider announces its own value
  const cell = element("div", { className: "cell" });
  if (paired) {
    const sideLabel = element("span", { className: "side", textContent: side[0].toUpperCase() });
    sideLabel.setAttribute("aria-hidden", "true");
    cell.append(sideLabel);
  }
  const track = element("span", { className: "track" });
  track.append(slider);
  cell.append(track, output);
  sliders[name] = slider;
  showValue(slider);
  return cell;
}

function showValue(slider) {
  slider.style.setProperty("--value", slider.value);
  const output = slider.parentElement.parentElement?.querySelector("output");
  if (output) output.textContent = Number(slider.value).toFixed(2);
}

const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

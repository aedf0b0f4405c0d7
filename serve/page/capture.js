// ARKit captures as Live Link Face writes them: CSV, one row per frame, columns by name in any order.

import { clamp, NAMES } from "./blendshapes.js";

const USUAL_FPS = 30;
const CLOCKS = [24, 25, 30, 50, 60, 120];

/**
 * @returns {{name: string, fps: number, frames: Object<string, number>[]}}
 * @throws {Error} naming the line or the column
 */
export function parseCapture(text, file) {
  const rows = text.replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => line.trim()).map((line) => line.split(",").map(bare));
  if (rows.length < 2) throw new Error(`${file} has no frames; a capture has a line of names and one line per frame.`);
  const columns = new Map(rows[0].map((title, place) => [camelCase(title), place]));
  const missing = NAMES.filter((name) => !columns.has(name));
  if (missing.length) {
    throw new Error(`${file} lacks ${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ` and ${missing.length - 3} more` : ""}; export all ARKit blendshapes.`);
  }
  const frames = rows.slice(1).map((row, line) => Object.fromEntries(NAMES.map((name) => {
    const value = Number(row[columns.get(name)] || NaN);
    if (!Number.isFinite(value)) throw new Error(`${file}, line ${line + 2}: ${name} is not a number; remove the line.`);
    return [name, clamp(value)];
  })));
  const stamps = columns.has("timecode") ? rows.slice(1).map((row) => row[columns.get("timecode")]) : [];
  return { name: file.replace(/\.[^.]*$/, ""), fps: framesPerSecond(stamps), frames };
}

const bare = (cell) => cell.trim().replace(/^"(.*)"$/, "$1");

function camelCase(title) {
  const name = title.slice(0, 1).toLowerCase() + title.slice(1);
  return name.replace(/_L$/, "Left").replace(/_R$/, "Right");
}

/** From timecodes HH:MM:SS:FF.fff, whose FF counts a clock that may run faster than the capture. */
function framesPerSecond(stamps) {
  const parts = stamps.map((stamp) => /(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)/.exec(stamp)).filter(Boolean);
  if (parts.length < 3) return USUAL_FPS;
  const most = Math.max(...parts.map((part) => Number(part[4])));
  const clock = CLOCKS.find((rate) => most < rate);
  if (!clock || most < clock / 2) return USUAL_FPS;
  const times = parts.map(([, h, m, s, f]) => h * 3600 + m * 60 + Number(s) + f / clock);
  const steps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
  const step = steps[Math.floor(steps.length / 2)];
  return step > 0 ? 1 / step : USUAL_FPS;
}

/** A take as such a file. */
export function writeCapture({ name, fps, frames }) {
  const pascal = (text) => text[0].toUpperCase() + text.slice(1);
  const stamp = (frame) => {
    const whole = Math.floor(frame / fps);
    const rest = ((frame / fps - whole) * fps).toFixed(3);
    const clock = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
    return `${clock.join(":")}:${rest.padStart(6, "0")}`;
  };
  const lines = frames.map((frame, i) => [stamp(i), NAMES.length, ...NAMES.map((shape) => frame[shape].toFixed(4))].join(","));
  const text = [["Timecode", "BlendShapeCount", ...NAMES.map(pascal)].join(","), ...lines].join("\n");
  return new File([text], `${name}.csv`, { type: "text/csv" });
}

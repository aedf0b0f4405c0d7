// ARKit captures as Live Link Face writes them: CSV, one row per frame, columns by name in any order.

import { clamp, NAMES } from "./blendshapes.js";

const USUAL_FPS = 30;
const CLOCKS = [24, 25, 30, 50, 60, 120];
const CLOCK = 60;

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
  return step > 0 ? Math.round(1000 / step) / 1000 : USUAL_FPS;
}

/**
 * A take as such a file. Its clock has 60 frames a second, whatever the take's rate, and starts at the last frame of a
 * second, so that whoever reads it sees how far the clock counts.
 */
export function writeCapture({ name, fps, frames }) {
  const pascal = (text) => text[0].toUpperCase() + text.slice(1);
  const two = (number) => String(number).padStart(2, "0");
  const stamp = (frame) => {
    const time = (frame - 1) / fps + 1;
    const whole = Math.floor(time + 1e-6);
    const [seconds, minutes, hours] = [whole % 60, Math.floor(whole / 60) % 60, Math.floor(whole / 3600)];
    return `${two(hours)}:${two(minutes)}:${two(seconds)}:${(Math.max(0, time - whole) * CLOCK).toFixed(3).padStart(6, "0")}`;
  };
  const lines = frames.map((frame, i) => [stamp(i), NAMES.length, ...NAMES.map((shape) => frame[shape].toFixed(4))].join(","));
  const text = [["Timecode", "BlendShapeCount", ...NAMES.map(pascal)].join(","), ...lines].join("\n");
  return new File([text], `${name}.csv`, { type: "text/csv" });
}

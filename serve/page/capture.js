// ARKit captures in the format of Live Link Face: CSV, one row per frame, columns by name in any order.

import { clamp, NAMES } from "./blendshapes.js";

const DEFAULT_FPS = 30;
const CLOCK_RATES = [24, 25, 30, 50, 60, 120]; // possible timecode rates
const WRITTEN_CLOCK_RATE = 60;

/**
 * @returns {{name: string, fps: number, frames: Object<string, number>[]}}
 * @throws {Error} that names the line or the column
 */
export function parseCapture(text, file) {
  const rows = text.replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => line.trim()).map((line) => line.split(",").map(unquote));
  if (rows.length < 2) throw new Error(`${file} has no frames; a capture has a header line and one line per frame.`);
  const columns = new Map(rows[0].map((title, index) => [camelCase(title), index]));
  const missing = NAMES.filter((name) => !columns.has(name));
  if (missing.length) {
    throw new Error(`${file} lacks ${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ` and ${missing.length - 3} more` : ""}; export all ARKit blendshapes.`);
  }
  const frames = rows.slice(1).map((row, line) => Object.fromEntries(NAMES.map((name) => {
    const value = Number(row[columns.get(name)] || NaN);
    if (!Number.isFinite(value)) throw new Error(`${file}, line ${line + 2}: ${name} is not a number; remove the line.`);
    return [name, clamp(value)];
  })));
  const timecodes = columns.has("timecode") ? rows.slice(1).map((row) => row[columns.get("timecode")]) : [];
  return { name: file.replace(/\.[^.]*$/, ""), fps: framesPerSecond(timecodes), frames };
}

const unquote = (cell) => cell.trim().replace(/^"(.*)"$/, "$1");

function camelCase(title) {
  const name = title.slice(0, 1).toLowerCase() + title.slice(1);
  return name.replace(/_L$/, "Left").replace(/_R$/, "Right");
}

/** The frame rate from timecodes HH:MM:SS:FF.fff, where FF counts ticks of a clock that may be faster than the capture. */
function framesPerSecond(timecodes) {
  const parsed = timecodes.map((timecode) => /(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)/.exec(timecode)).filter(Boolean);
  if (parsed.length < 3) return DEFAULT_FPS;
  const lastTick = Math.max(...parsed.map((match) => Number(match[4])));
  const clockRate = CLOCK_RATES.find((rate) => lastTick < rate);
  if (!clockRate || lastTick < clockRate / 2) return DEFAULT_FPS;
  const times = parsed.map(([, h, m, s, f]) => h * 3600 + m * 60 + Number(s) + f / clockRate);
  const steps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
  const step = steps[Math.floor(steps.length / 2)];
  return step > 0 ? Math.round(1000 / step) / 1000 : DEFAULT_FPS;
}

/**
 * Writes a capture as CSV. Its timecode clock has 60 ticks per second, whatever the frame rate, and starts just before a
 * full second, so that a reader can detect the rate of the clock.
 */
export function writeCapture({ name, fps, frames }) {
  const pascal = (text) => text[0].toUpperCase() + text.slice(1);
  const twoDigits = (number) => String(number).padStart(2, "0");
  const timecode = (frame) => {
    const time = (frame - 1) / fps + 1;
    const whole = Math.floor(time + 1e-6);
    const [seconds, minutes, hours] = [whole % 60, Math.floor(whole / 60) % 60, Math.floor(whole / 3600)];
    return `${twoDigits(hours)}:${twoDigits(minutes)}:${twoDigits(seconds)}:${(Math.max(0, time - whole) * WRITTEN_CLOCK_RATE).toFixed(3).padStart(6, "0")}`;
  };
  const lines = frames.map((frame, i) => [timecode(i), NAMES.length, ...NAMES.map((shape) => frame[shape].toFixed(4))].join(","));
  const text = [["Timecode", "BlendShapeCount", ...NAMES.map(pascal)].join(","), ...lines].join("\n");
  return new File([text], `${name}.csv`, { type: "text/csv" });
}

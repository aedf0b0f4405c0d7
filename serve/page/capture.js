// Captures as files for the server, in the format of Live Link Face. It reads them too (`readCapture` in api.js).

import { NAMES } from "./blendshapes.js";

const WRITTEN_CLOCK_RATE = 60;

const ANGLES = ["HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll"];

/**
 * Writes a capture as CSV; a frame that is null shows no face. `angles`: of the head, or of head and eyes, in
 * radians, for each frame. Its timecode clock has 60 ticks per second, whatever the frame rate, and starts just before a
 * full second, so that a reader can detect the rate of the clock.
 */
export function writeCapture({ name, fps, frames, angles }) {
  const pascal = (text) => text[0].toUpperCase() + text.slice(1);
  const twoDigits = (number) => String(number).padStart(2, "0");
  const timecode = (frame) => {
    const time = (frame - 1) / fps + 1;
    const whole = Math.floor(time + 1e-6);
    const [seconds, minutes, hours] = [whole % 60, Math.floor(whole / 60) % 60, Math.floor(whole / 3600)];
    return `${twoDigits(hours)}:${twoDigits(minutes)}:${twoDigits(seconds)}:${(Math.max(0, time - whole) * WRITTEN_CLOCK_RATE).toFixed(3).padStart(6, "0")}`;
  };
  const columns = [...NAMES.map(pascal), ...ANGLES.slice(0, angles?.find(Boolean)?.length ?? 0)];
  const values = (frame, i) => [...NAMES.map((shape) => frame[shape]), ...(angles?.[i] ?? [])].map((value) => value.toFixed(4));
  const lines = frames.map((frame, i) => [timecode(i), ...(frame ? [columns.length, ...values(frame, i)] : [0])].join(","));
  const text = [["Timecode", "BlendShapeCount", ...columns].join(","), ...lines].join("\n");
  return new File([text], `${name}.csv`, { type: "text/csv" });
}

// A take without a file: the presets one after another, with blinks, so that a visitor sees at once what is meant.

import { complete, NAMES, PRESETS } from "./blendshapes.js";

const FPS = 30;
const SECONDS_EACH = 1.6;
const BLINKS = [0.9, 5.2, 9.4]; // seconds

export function demonstration() {
  const stations = ["Neutral", "Smile", "Surprise", "Kiss", "Anger", "Sadness", "Laugh", "Wink", "Neutral"].map((name) => complete(PRESETS[name]));
  const count = Math.round((stations.length - 1) * SECONDS_EACH * FPS);
  const frames = Array.from({ length: count + 1 }, (_, frame) => {
    const place = Math.min((frame / count) * (stations.length - 1), stations.length - 1.000001);
    const [from, to] = [stations[Math.floor(place)], stations[Math.floor(place) + 1]];
    const share = smooth(Math.min(1, (place % 1) / 0.55)); // there soon, then held
    const blink = Math.max(...BLINKS.map((time) => Math.exp(-(((frame / FPS - time) / 0.08) ** 2))));
    return Object.fromEntries(NAMES.map((name) => {
      const value = from[name] + (to[name] - from[name]) * share;
      return [name, name.startsWith("eyeBlink") ? Math.max(value, blink) : value];
    }));
  });
  return { name: "Demonstration", fps: FPS, frames };
}

const smooth = (x) => x * x * (3 - 2 * x);

/** A take as an ARKit CSV, for the server to make a film of. */
export function asCapture({ name, fps, frames }) {
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

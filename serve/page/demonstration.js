// A built-in capture: the presets one after another, with blinks.

import { complete, NAMES, PRESETS } from "./blendshapes.js";

const FPS = 30;
const SECONDS_PER_PRESET = 1.6;
const BLINKS = [0.9, 5.2, 9.4]; // seconds

export function createDemo() {
  const keyframes = ["Neutral", "Smile", "Surprise", "Kiss", "Anger", "Sadness", "Laugh", "Wink", "Neutral"].map((name) => complete(PRESETS[name]));
  const count = Math.round((keyframes.length - 1) * SECONDS_PER_PRESET * FPS);
  const frames = Array.from({ length: count + 1 }, (_, frame) => {
    const position = Math.min((frame / count) * (keyframes.length - 1), keyframes.length - 1.000001);
    const [from, to] = [keyframes[Math.floor(position)], keyframes[Math.floor(position) + 1]];
    const weight = smooth(Math.min(1, (position % 1) / 0.55)); // transition first, then hold
    const blink = Math.max(...BLINKS.map((time) => Math.exp(-(((frame / FPS - time) / 0.08) ** 2))));
    return Object.fromEntries(NAMES.map((name) => {
      const value = from[name] + (to[name] - from[name]) * weight;
      return [name, name.startsWith("eyeBlink") ? Math.max(value, blink) : value];
    }));
  });
  return { name: "Demo", fps: FPS, frames };
}

const smooth = (x) => x * x * (3 - 2 * x);

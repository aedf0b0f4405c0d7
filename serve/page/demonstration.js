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

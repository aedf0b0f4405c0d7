// The 51 ARKit blendshapes as a person looks for them: in groups, pairs side by side, with plain names.

const both = (stem, label) => ({ label, names: [`${stem}Right`, `${stem}Left`] }); // as the photo shows them
const one = (name, label) => ({ label, names: [name] });

export const GROUPS = [
  {
    title: "Eyes",
    shapes: [
      both("eyeBlink", "Blink"), both("eyeSquint", "Squint"), both("eyeWide", "Wide"), both("eyeLookUp", "Look up"),
      both("eyeLookDown", "Look down"), both("eyeLookIn", "Look in"), both("eyeLookOut", "Look out"),
    ],
  },
  {
    title: "Brows",
    shapes: [one("browInnerUp", "Inner up"), both("browOuterUp", "Outer up"), both("browDown", "Down")],
  },
  {
    title: "Jaw",
    shapes: [one("jawOpen", "Open"), one("jawForward", "Forward"), { label: "Sideways", names: ["jawRight", "jawLeft"] }],
  },
  {
    title: "Mouth",
    shapes: [
      both("mouthSmile", "Smile"), both("mouthFrown", "Frown"), one("mouthFunnel", "Funnel"), one("mouthPucker", "Pucker"),
      one("mouthClose", "Close"), { label: "Sideways", names: ["mouthRight", "mouthLeft"] }, both("mouthStretch", "Stretch"),
      both("mouthDimple", "Dimple"), both("mouthPress", "Press"), both("mouthUpperUp", "Upper lip up"),
      both("mouthLowerDown", "Lower lip down"), one("mouthRollUpper", "Roll upper lip"), one("mouthRollLower", "Roll lower lip"),
      one("mouthShrugUpper", "Shrug upper lip"), one("mouthShrugLower", "Shrug lower lip"),
    ],
  },
  { title: "Cheeks", shapes: [one("cheekPuff", "Puff"), both("cheekSquint", "Squint")] },
  { title: "Nose", shapes: [both("noseSneer", "Sneer")] },
];

export const NAMES = GROUPS.flatMap((group) => group.shapes.flatMap((shape) => shape.names));

const OPPOSED = new Set(["jawLeft", "jawRight", "mouthLeft", "mouthRight"]); // a pair that pulls apart moves one at a time

/** The blendshape of the other side that moves along, or null. */
export function partner(name) {
  if (OPPOSED.has(name)) return null;
  if (name.endsWith("Left")) return `${name.slice(0, -4)}Right`;
  if (name.endsWith("Right")) return `${name.slice(0, -5)}Left`;
  return null;
}

const sides = (stem, value) => ({ [`${stem}Left`]: value, [`${stem}Right`]: value });

/** Expressions to start from; what is not named is 0. */
export const PRESETS = {
  Neutral: {},
  Smile: { ...sides("mouthSmile", 0.85), ...sides("cheekSquint", 0.5), ...sides("eyeSquint", 0.25), ...sides("mouthDimple", 0.2) },
  Laugh: { ...sides("mouthSmile", 0.9), jawOpen: 0.55, ...sides("eyeSquint", 0.5), ...sides("cheekSquint", 0.7), ...sides("mouthUpperUp", 0.35) },
  Surprise: { ...sides("eyeWide", 0.8), browInnerUp: 0.9, ...sides("browOuterUp", 0.8), jawOpen: 0.6, mouthFunnel: 0.25 },
  Anger: { ...sides("browDown", 0.95), ...sides("noseSneer", 0.5), ...sides("mouthPress", 0.5), ...sides("eyeSquint", 0.4), ...sides("mouthFrown", 0.35) },
  Sadness: { browInnerUp: 0.9, ...sides("mouthFrown", 0.7), mouthShrugLower: 0.4, ...sides("eyeLookDown", 0.25) },
  Kiss: { mouthPucker: 0.95, ...sides("eyeBlink", 0.4), mouthFunnel: 0.15 },
  Wink: { eyeBlinkLeft: 1, cheekSquintLeft: 0.6, mouthSmileLeft: 0.6, mouthSmileRight: 0.2 },
};

/** All 51 coefficients of a preset or of a server's answer, those not named being 0. */
export function complete(expression) {
  return Object.fromEntries(NAMES.map((name) => [name, clamp(Number(expression[name] ?? 0))]));
}

export const clamp = (value) => Math.min(1, Math.max(0, value));

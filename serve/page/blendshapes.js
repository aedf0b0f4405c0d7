// The 51 ARKit blendshapes for the sliders: in groups, left and right side by side, with readable labels.

const pair = (stem, label) => ({ label, names: [`${stem}Right`, `${stem}Left`] }); // right first, as seen in a photo
const single = (name, label) => ({ label, names: [name] });

export const GROUPS = [
  {
    title: "Eyes",
    shapes: [
      pair("eyeBlink", "Blink"), pair("eyeSquint", "Squint"), pair("eyeWide", "Wide"), pair("eyeLookUp", "Look up"),
      pair("eyeLookDown", "Look down"), pair("eyeLookIn", "Look in"), pair("eyeLookOut", "Look out"),
    ],
  },
  {
    title: "Brows",
    shapes: [single("browInnerUp", "Inner up"), pair("browOuterUp", "Outer up"), pair("browDown", "Down")],
  },
  {
    title: "Jaw",
    shapes: [single("jawOpen", "Open"), single("jawForward", "Forward"), { label: "Sideways", names: ["jawRight", "jawLeft"] }],
  },
  {
    title: "Mouth",
    shapes: [
      pair("mouthSmile", "Smile"), pair("mouthFrown", "Frown"), single("mouthFunnel", "Funnel"), single("mouthPucker", "Pucker"),
      single("mouthClose", "Close"), { label: "Sideways", names: ["mouthRight", "mouthLeft"] }, pair("mouthStretch", "Stretch"),
      pair("mouthDimple", "Dimple"), pair("mouthPress", "Press"), pair("mouthUpperUp", "Upper lip up"),
      pair("mouthLowerDown", "Lower lip down"), single("mouthRollUpper", "Roll upper lip"), single("mouthRollLower", "Roll lower lip"),
      single("mouthShrugUpper", "Shrug upper lip"), single("mouthShrugLower", "Shrug lower lip"),
    ],
  },
  { title: "Cheeks", shapes: [single("cheekPuff", "Puff"), pair("cheekSquint", "Squint")] },
  { title: "Nose", shapes: [pair("noseSneer", "Sneer")] },
];

export const NAMES = GROUPS.flatMap((group) => group.shapes.flatMap((shape) => shape.names));

const OPPOSED = new Set(["jawLeft", "jawRight", "mouthLeft", "mouthRight"]); // move the same part in opposite directions

/** The corresponding blendshape of the other side, or null. */
export function mirrored(name) {
  if (OPPOSED.has(name)) return null;
  if (name.endsWith("Left")) return `${name.slice(0, -4)}Right`;
  if (name.endsWith("Right")) return `${name.slice(0, -5)}Left`;
  return null;
}

const sides = (stem, value) => ({ [`${stem}Left`]: value, [`${stem}Right`]: value });

/** Preset expressions; missing coefficients are 0. */
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

/** All 51 coefficients of a preset or of a response, clamped to [0, 1]; missing ones are 0. */
export function complete(expression) {
  return Object.fromEntries(NAMES.map((name) => [name, clamp(Number(expression[name] ?? 0))]));
}

export const clamp = (value) => Math.min(1, Math.max(0, value));

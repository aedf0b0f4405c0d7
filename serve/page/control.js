// The controls of a reenactment: what a driving changes of the face, and by how much. As `jr2net/inference/control.py`.

import { clamp, NAMES } from "./blendshapes.js";

const $ = (id) => document.getElementById(id);
const FACE_REGIONS = ["eyes", "brows", "mouth"];
const ANGLES = ["pitch", "yaw", "roll"];
const EYELIDS = /^eye(Blink|Squint|Wide)/;
const LIPS = /^(jawOpen|mouthLowerDown|mouthUpperUp)/;
const OPENING = /^(jawOpen|mouthLowerDown|mouthUpperUp|mouthClose|mouthFunnel)/;

export const regionOf = (name) => ({ eye: "eyes", bro: "brows" })[name.slice(0, 3)] ?? "mouth";

/**
 * The coefficients of the face `own` as `driving` changes them; `reference`: the driving's in its frame of reference.
 *
 * @param {{regions: string[], strength: number, relative: boolean, retarget: string, closeMouth: boolean}} controls
 */
export function drive(own, driving, controls, reference = {}) {
  const { regions, strength, relative, retarget, closeMouth } = controls;
  const [lips, eyes] = [/lips|both/.test(retarget), /eyes|both/.test(retarget)];
  return Object.fromEntries(NAMES.map((name) => {
    const base = closeMouth && OPENING.test(name) ? 0 : own[name];
    if (!regions.includes(regionOf(name))) return [name, base];
    const [value, rest] = [driving[name], reference[name] ?? 0];
    const mapped = (lips && LIPS.test(name)) || (eyes && EYELIDS.test(name));
    const target = mapped ? toOwnRange(value, rest, base) : relative ? base + value - rest : value;
    return [name, clamp(base + strength * (target - base))];
  }));
}

/** The number of a capture's frame of reference: the first, that of least expression, or at an instant in seconds. */
export function referenceFrame(frames, reference, fps) {
  if (reference === "first") return 0;
  if (reference !== "neutral") return Math.min(frames.length - 1, Math.round(Number(reference) * fps));
  const amounts = frames.map((frame) => NAMES.reduce((sum, name) => sum + (name.startsWith("eyeLook") ? 0 : frame[name]), 0));
  return amounts.indexOf(Math.min(...amounts));
}

function toOwnRange(value, rest, own) {
  if (value < rest) return (own * value) / Math.max(rest, 1e-6);
  return own + ((1 - own) * (value - rest)) / Math.max(1 - rest, 1e-6);
}

/** A list of moments, one of which is an instant in seconds; `onChange` is called when the user has chosen another. */
export function createMoment(id, onChange = () => {}) {
  const [list, seconds] = [$(id), $(`${id}-seconds`)];
  const isInstant = () => list.value === "instant";
  list.addEventListener("change", () => {
    for (const part of [seconds, ...seconds.labels]) part.hidden = !isInstant();
    onChange();
  });
  seconds.addEventListener("change", onChange);
  return { value: () => (isInstant() ? String(Math.max(0, Number(seconds.value))) : list.value) };
}

/** The controls of the page; `onTurn` is called when a slider of the head moves, with whether it was let go. */
export function initControls(onTurn) {
  const regions = () => FACE_REGIONS.filter((name) => $(`region-${name}`).checked);
  const showAngle = (name) => {
    $(name).style.setProperty("--value", (Number($(name).value) + 45) / 90);
    $(`${name}-value`).textContent = `${$(name).value}°`;
  };
  const showStrength = () => {
    $("strength").style.setProperty("--value", Number($("strength").value) / 2);
    $("strength-value").textContent = `× ${Number($("strength").value).toFixed(1)}`;
  };
  const setAngles = (value) => {
    for (const name of ANGLES) {
      $(name).value = value;
      showAngle(name);
    }
  };
  for (const name of ANGLES) {
    $(name).addEventListener("input", () => {
      showAngle(name);
      onTurn(false);
    });
    $(name).addEventListener("change", () => onTurn(true));
  }
  $("strength").addEventListener("input", showStrength);
  $("straighten").addEventListener("click", () => {
    setAngles(0);
    onTurn(true);
  });
  setAngles(0);
  showStrength();

  const reference = createMoment("reference").value;
  const turn = () => Object.fromEntries(ANGLES.map((name) => [name, Number($(name).value)]));
  return {
    turn,
    reset: () => setAngles(0),
    /** What `drive` needs. */
    expression: () => ({
      regions: regions(), strength: Number($("strength").value), relative: $("relative").checked, retarget: $("retarget").value,
      closeMouth: $("close-mouth").checked,
    }),
    reference,
    /** The form fields of a request; `film`: with those that a photo has not; `pose`: of a driving that has one. */
    fields({ film, capture = false }) {
      const pose = !capture && $("pose").checked;
      const taken = [...regions(), ...(pose ? ["pose"] : [])];
      return {
        ...(taken.length ? { regions: taken.join(",") } : { strength: "0" }),
        ...(taken.length && { strength: $("strength").value }),
        ...(!capture && { light: String($("light").checked) }),
        ...(film && { relative: String($("relative").checked), reference: reference(), smooth: String($("smooth").checked) }),
        ...Object.fromEntries(ANGLES.map((name) => [name, $(name).value])),
        retarget: $("retarget").value, close_mouth: String($("close-mouth").checked),
      };
    },
    setEnabled(enabled) {
      const ids = [...FACE_REGIONS.map((name) => `region-${name}`), ...ANGLES, "straighten", "strength", "relative", "retarget",
        "close-mouth", "reference", "reference-seconds", "pose", "light", "smooth"];
      for (const id of ids) $(id).disabled = !enabled;
    },
  };
}

// The face box, drawn by the user: for servers without a face detector, and for faces that it misses.

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.01; // of the photo's shorter side
const MIN_SIZE = 0.03; // of the photo's width and height

/** A rectangle over the photo, in fractions of its size. It is drawn with a pointer, or moved and resized by arrow keys. */
export function createBoxEditor({ rectangle, area }) {
  let [box, dragStart, size] = [null, null, { width: 1, height: 1 }];

  const setBox = (left, top, right, bottom) => {
    const [x, y] = [[left, right], [top, bottom]].map((edges) => edges.map(clamp).sort((a, b) => a - b));
    box = { left: x[0], top: y[0], right: x[1], bottom: y[1] };
    const percent = (fraction) => `${fraction * 100}%`;
    Object.assign(rectangle.style, {
      left: percent(box.left), top: percent(box.top), width: percent(box.right - box.left), height: percent(box.bottom - box.top),
    });
  };
  const pointerPosition = (event) => {
    const bounds = area.getBoundingClientRect();
    return [(event.clientX - bounds.left) / bounds.width, (event.clientY - bounds.top) / bounds.height];
  };
  area.addEventListener("pointerdown", (event) => {
    dragStart = pointerPosition(event);
    area.setPointerCapture(event.pointerId);
    rectangle.focus();
    event.preventDefault();
  });
  area.addEventListener("pointermove", (event) => dragStart && setBox(...dragStart, ...pointerPosition(event)));
  for (const name of ["pointerup", "pointercancel"]) area.addEventListener(name, () => (dragStart = null));
  rectangle.addEventListener("keydown", (event) => {
    const direction = DIRECTIONS[event.key];
    if (!direction) return;
    event.preventDefault();
    const step = Math.min(size.width, size.height) * STEP * (event.ctrlKey ? 5 : 1);
    const [dx, dy] = [(direction[0] * step) / size.width, (direction[1] * step) / size.height];
    if (event.shiftKey) setBox(box.left, box.top, Math.max(box.left + MIN_SIZE, box.right + dx), Math.max(box.top + MIN_SIZE, box.bottom + dy));
    else setBox(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy);
  });

  return {
    /** Starts with a known box, or where most photos show the face: in the centre, or above it in portrait photos. */
    open(photo, knownBox) {
      size = photo;
      const { width, height } = photo;
      const [w, h] = [width, height].map((side) => (0.25 * Math.min(width, height)) / side);
      const centreY = height > width ? 0.35 : 0.5;
      area.hidden = false;
      if (knownBox) setBox(knownBox[0] / width, knownBox[1] / height, knownBox[2] / width, knownBox[3] / height);
      else setBox(0.5 - w, centreY - h, 0.5 + w, centreY + h);
      rectangle.focus({ preventScroll: true });
    },
    close() {
      area.hidden = true;
    },
    /** [left, top, right, bottom] in the photo's pixels. */
    box: () => [box.left * size.width, box.top * size.height, box.right * size.width, box.bottom * size.height].map(Math.round),
  };
}

const clamp = (fraction) => Math.min(1, Math.max(0, fraction));

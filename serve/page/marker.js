// Where the face is, said by hand: for servers without a face detector, and for faces that it misses.

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.01; // of the photo's shorter side
const SMALLEST = 0.03;

/** A rectangle over the photo, in fractions of it, drawn with a pointer or moved and sized with the arrow keys. */
export function openMarker({ marker, area }) {
  let [box, from, size] = [null, null, { width: 1, height: 1 }];

  const put = (left, top, right, bottom) => {
    const [x, y] = [[left, right], [top, bottom]].map((ends) => ends.map(within).sort((a, b) => a - b));
    box = { left: x[0], top: y[0], right: x[1], bottom: y[1] };
    const percent = (part) => `${part * 100}%`;
    Object.assign(marker.style, {
      left: percent(box.left), top: percent(box.top), width: percent(box.right - box.left), height: percent(box.bottom - box.top),
    });
  };
  const point = (event) => {
    const bounds = area.getBoundingClientRect();
    return [(event.clientX - bounds.left) / bounds.width, (event.clientY - bounds.top) / bounds.height];
  };
  area.addEventListener("pointerdown", (event) => {
    from = point(event);
    area.setPointerCapture(event.pointerId);
    marker.focus();
    event.preventDefault();
  });
  area.addEventListener("pointermove", (event) => from && put(...from, ...point(event)));
  for (const end of ["pointerup", "pointercancel"]) area.addEventListener(end, () => (from = null));
  marker.addEventListener("keydown", (event) => {
    const way = KEYS[event.key];
    if (!way) return;
    event.preventDefault();
    const shorter = Math.min(size.width, size.height) * STEP * (event.ctrlKey ? 5 : 1);
    const [dx, dy] = [(way[0] * shorter) / size.width, (way[1] * shorter) / size.height];
    if (event.shiftKey) put(box.left, box.top, Math.max(box.left + SMALLEST, box.right + dx), Math.max(box.top + SMALLEST, box.bottom + dy));
    else put(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy);
  });

  return {
    /** Starts with the box that is known, or where most photos have the face: in the middle, or above it in tall ones. */
    open(photo, known) {
      size = photo;
      const { width, height } = photo;
      const [w, h] = [width, height].map((side) => (0.25 * Math.min(width, height)) / side);
      const middle = height > width ? 0.35 : 0.5;
      area.hidden = false;
      if (known) put(known[0] / width, known[1] / height, known[2] / width, known[3] / height);
      else put(0.5 - w, middle - h, 0.5 + w, middle + h);
      marker.focus({ preventScroll: true });
    },
    close() {
      area.hidden = true;
    },
    /** [left, top, right, bottom] in the photo's pixels. */
    box: () => [box.left * size.width, box.top * size.height, box.right * size.width, box.bottom * size.height].map(Math.round),
  };
}

const within = (part) => Math.min(1, Math.max(0, part));

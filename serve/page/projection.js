// From the fitted head to the photo's pixels: the crop's camera, then the crop's place in the photo, as one matrix.

/** The square of the photo that the networks saw, as {left, top, width, height} around its four corners. */
export function cropBounds(camera) {
  const back = inverse(camera.crop);
  const corners = [[0, 0], [1, 0], [0, 1], [1, 1]].map(([x, y]) => apply(back, x * camera.size, y * camera.size));
  const [xs, ys] = [0, 1].map((axis) => corners.map((corner) => corner[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return { left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
}

/**
 * The projection of a view of the photo, column by column as WebGL wants it.
 *
 * Camera space is WebGL's (x right, y up, z backward), in millimetres; `camera` has focal, centre, size and `crop`, the
 * 2 × 3 affine from the photo's pixels to the crop's; `view` is the part of the photo that the canvas shows.
 */
export function projection(camera, view, near = 50, far = 20000) {
  const [[a, b], [c, d]] = inverse(camera.crop).map((row) => row.slice(0, 2));
  const [x, y] = apply(inverse(camera.crop), ...camera.centre); // where the optical axis meets the photo
  const f = camera.focal;
  const across = [a * f, b * f, x - view.left].map((value) => (value * 2) / view.width);
  const down = [c * f, d * f, y - view.top].map((value) => (value * 2) / view.height);
  // Pixels are linear in (X, Y, Z) / Z of OpenCV's axes, and X = x, Y = -y, Z = -z.
  return [
    across[0], -down[0], 0, 0,
    -across[1], down[1], 0, 0,
    -(across[2] - 1), down[2] - 1, (far + near) / (near - far), -1,
    0, 0, (2 * far * near) / (near - far), 0,
  ];
}

function inverse([[a, b, e], [c, d, f]]) {
  const determinant = a * d - b * c;
  const [p, q, r, s] = [d, -b, -c, a].map((value) => value / determinant);
  return [[p, q, -(p * e + q * f)], [r, s, -(r * e + s * f)]];
}

const apply = (matrix, x, y) => matrix.map((row) => row[0] * x + row[1] * y + row[2]);

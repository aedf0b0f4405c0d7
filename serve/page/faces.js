// The chooser of a picture's faces: a picture of each, the largest first. It is hidden where there is one face only.

const SIDE = 84; // of a picture, in its own pixels
const MARGIN = 0.25; // around a face, as a fraction of its box

/** Shows the faces that `boxes` hold in an image; `onChoose` is called with the index of one. */
export async function showFaces(container, image, boxes, chosen, onChoose) {
  container.hidden = true;
  for (const label of [...container.querySelectorAll("label")]) label.remove();
  if (boxes.length < 2) return;
  const bitmap = await createImageBitmap(image);
  container.append(...boxes.map((box, index) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {
      type: "radio", name: container.id, value: index, checked: index === chosen, title: `Face ${index + 1} of ${boxes.length}`,
    });
    input.setAttribute("aria-label", input.title);
    input.addEventListener("change", () => onChoose(index));
    label.append(input, picture(bitmap, box));
    return label;
  }));
  bitmap.close();
  container.hidden = false;
}

function picture(bitmap, [left, top, right, bottom]) {
  const side = Math.max(right - left, bottom - top) * (1 + 2 * MARGIN);
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  canvas.getContext("2d").drawImage(
    bitmap, (left + right - side) / 2, (top + bottom - side) / 2, side, side, 0, 0, SIDE, SIDE,
  );
  return canvas;
}

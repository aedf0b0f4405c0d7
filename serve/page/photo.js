// Reads a photo from a file: upright, and shrunk to a size that is fast to send.

const MAX_SIDE = 1280; // pixels; every slider movement returns an image of this size
const SENT_UNCHANGED = new Set(["image/jpeg", "image/png", "image/webp"]);

/**
 * @returns {Promise<{original: Blob, working: Blob, scale: number, width: number, height: number, name: string}>}
 *   `working` is the image that is sent, of `width` × `height` pixels; `scale` is its size relative to the original
 */
export async function readPhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name ?? "This file"} is not a photo that this browser can read; use a JPEG, PNG or WebP.`);
  }
  const name = (file.name ?? "photo").replace(/\.[^.]*$/, "") || "photo";
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const working = scale === 1 && SENT_UNCHANGED.has(file.type) ? file : await redraw(bitmap, width, height);
  bitmap.close();
  return { original: file, working, scale, width, height, name };
}

function redraw(bitmap, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // behind transparent pixels
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.94));
}

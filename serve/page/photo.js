// A file becomes the photo that the page works with: upright, and no larger than moving it needs.

const LONGEST = 1280; // pixels; what a slider's answer carries over the wire each time
const SENT_AS_IT_IS = new Set(["image/jpeg", "image/png", "image/webp"]);

/**
 * @returns {Promise<{original: Blob, working: Blob, scale: number, width: number, height: number, name: string}>}
 *   `width` and `height` are those of `working`, `scale` is how many times smaller it is than the original
 */
export async function readPhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name ?? "This file"} is not a picture that this browser can read; use a JPEG, PNG or WebP.`);
  }
  const name = (file.name ?? "photo").replace(/\.[^.]*$/, "") || "photo";
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const working = scale === 1 && SENT_AS_IT_IS.has(file.type) ? file : await redraw(bitmap, width, height);
  bitmap.close();
  return { original: file, working, scale, width, height, name };
}

function redraw(bitmap, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what is transparent in the file
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.94));
}

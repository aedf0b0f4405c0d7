// Reads a photo from a file: upright, and shrunk to a size that is fast to send. What a browser cannot show, and videos, of
// which one frame is shown, are read by the server.

import { fetchPicture } from "./api.js";

const MAX_SIDE = 1280; // pixels; every slider movement returns an image of this size
const SENT_UNCHANGED = new Set(["image/jpeg", "image/png", "image/webp"]);

const VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|ts|mts|m2ts|flv|wmv|3gp)$/i; // some have no type in some browsers

export const isVideo = (file) => file.type.startsWith("video/") || VIDEO.test(file.name ?? "");

/**
 * @returns {Promise<{original: Blob, working: Blob, scale: number, width: number, height: number, name: string, notes?: string[],
 *   video?: File}>} `notes` say what of the file the server has left out or assumed; `working` is the image that is sent, of
 *   `width` × `height` pixels; `scale` is its size relative to the original; of a `video` both are its first frame that shows a face
 */
export async function readPhoto(file, signal) {
  const name = (file.name ?? "photo").replace(/\.[^.]*$/, "") || "photo";
  const readByServer = async () => {
    const { blob, notes } = await fetchPicture(file, signal);
    return { ...(await shrink(blob, name)), notes };
  };
  if (isVideo(file)) return { ...(await readByServer()), video: file };
  if (await isDeep(file)) return readByServer();
  return shrink(file, name).catch(readByServer);
}

/** Whether it is a PNG of 16 bits, which browsers may show too dark. */
async function isDeep(file) {
  const head = new Uint8Array(await file.slice(0, 26).arrayBuffer());
  return head[1] === 0x50 && head[2] === 0x4e && head[3] === 0x47 && head[24] === 16;
}

async function shrink(file, name) {
  const bitmap = await createImageBitmap(file);
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

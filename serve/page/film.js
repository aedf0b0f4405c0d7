// A film while it arrives: how many of its frames are there, and at its end the notes that the server wrote into it.

const NOTES_ID = "7b7ab3f5a6a04d1c9d7c4a1f2f0e6b5d"; // as in `jr2net/images/video_notes.py`
const PICTURES = 1; // the number of the track that holds the pictures; sound comes after it

/**
 * Reads a fragmented MP4; calls `onFrames` with the number of frames that have arrived.
 *
 * @returns {Promise<{video: Blob, notes: string[]}>}
 */
export async function readFilm(stream, onFrames) {
  const [chunks, reader] = [[], stream.getReader()];
  let [rest, frames, notes] = [new Uint8Array(0), 0, []];
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    chunks.push(value);
    rest = joined(rest, value);
    let end = 0;
    for (const box of boxes(rest)) {
      end = box.end;
      if (box.type === "moof") onFrames((frames += framesOf(box.content)));
      if (box.type === "uuid") notes = notesOf(box.content) ?? notes;
    }
    rest = rest.slice(end);
  }
  return { video: new Blob(chunks, { type: "video/mp4" }), notes };
}

/** The complete boxes at the beginning of an MP4's bytes: type, content and where each ends. */
function* boxes(bytes) {
  const view = viewOf(bytes);
  for (let start = 0; start + 8 <= bytes.length; ) {
    const end = start + view.getUint32(start);
    if (end < start + 8 || end > bytes.length) return;
    yield { type: text(bytes.subarray(start + 4, start + 8)), content: bytes.subarray(start + 8, end), end };
    start = end;
  }
}

/** The number of pictures in a fragment. */
function framesOf(fragment) {
  let count = 0;
  for (const track of boxes(fragment)) {
    if (track.type !== "traf") continue;
    const parts = [...boxes(track.content)];
    const head = parts.find(({ type }) => type === "tfhd");
    if (!head || viewOf(head.content).getUint32(4) !== PICTURES) continue;
    for (const run of parts.filter(({ type }) => type === "trun")) count += viewOf(run.content).getUint32(4);
  }
  return count;
}

function notesOf(content) {
  const id = [...content.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return id === NOTES_ID ? JSON.parse(new TextDecoder().decode(content.subarray(16))).notes : null;
}

const viewOf = ({ buffer, byteOffset, byteLength }) => new DataView(buffer, byteOffset, byteLength);
const text = (bytes) => String.fromCharCode(...bytes);

function joined(a, b) {
  if (!a.length) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

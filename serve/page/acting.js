// The photo acts by a file: a capture plays here, frame by frame; clips, and captures on demand, become a film.

import { film, imitate } from "./api.js";
import { parseCapture, writeCapture } from "./capture.js";
import { demonstration } from "./demonstration.js";
import { openPlayer } from "./player.js";

const $ = (id) => document.getElementById(id);

const USUAL_LIMIT = 60; // seconds of a capture that a server films, where it does not say

/** `model` is what the server says of itself, once it has; `move` takes an expression to sliders, mesh and photo. */
export function offerActing({ face, model, stage, say, complain, busy, move }) {
  let [waiting, address] = [null, ""];
  const player = openPlayer(
    { player: $("player"), takeName: $("take-name"), takeTime: $("take-time"), play: $("play"), seek: $("seek"), loop: $("loop") },
    move,
  );
  const switches = () => ({ pose: String($("pose").checked), light: String($("light").checked) });
  const smooth = () => ({ smooth: String($("smooth").checked) });

  /** Waits for the server, with a way to stop. */
  const wait = async (doing, ask) => {
    waiting?.abort();
    const mine = (waiting = new AbortController());
    $("problem").hidden = true;
    $("cancel").hidden = false;
    busy(true);
    say(doing);
    try {
      return await ask(mine.signal);
    } catch (problem) {
      if (problem.name === "AbortError") say("Cancelled.");
      else {
        complain(problem);
        say("The photo did not act.");
      }
      return null;
    } finally {
      if (waiting === mine) {
        waiting = null;
        $("cancel").hidden = true;
        busy(false);
      }
    }
  };
  const showFilm = async (driving, options) => {
    player.pause();
    const made = await wait(`Filming ${driving.name} …`, (signal) => film(face().source, driving, options, signal));
    if (!made || !face()) return;
    URL.revokeObjectURL(address);
    address = URL.createObjectURL(made);
    $("video").src = $("video-download").href = address;
    $("video-download").download = `${face().photo.name}-acting.mp4`;
    $("film").hidden = false;
    $("video").play().catch(() => {}); // where the browser wants a gesture first, the controls are there
    $("film").scrollIntoView({ block: "nearest" });
    say("The film is ready.");
  };
  /** As much of the take as the server films at once: all of it, or what comes from here on. */
  const section = () => {
    const { name, fps, frames } = player.take();
    const most = Math.floor((model()?.limits?.video_seconds ?? USUAL_LIMIT) * fps);
    const first = frames.length > most ? player.frame() : 0;
    return { name, fps, frames: frames.slice(first, first + most) };
  };
  const play = (take) => {
    $("film").hidden = true;
    say(`Playing ${take.name}.`);
    player.load(take);
  };
  const take = async (file) => {
    if (!face()) return say("Choose a photo first.");
    try {
      if (/\.csv$/i.test(file.name) || file.type === "text/csv") return play(parseCapture(await file.text(), file.name));
    } catch (error) {
      return complain(error);
    }
    player.close();
    if (!file.type.startsWith("image/")) return showFilm(file, { ...switches(), ...smooth() });
    const picture = await wait(`Acting like ${file.name} …`, (signal) => imitate(face().source, file, switches(), signal));
    if (!picture) return;
    await stage.showPicture(picture);
    say(`The photo acts like ${file.name}.`);
  };

  $("driving").addEventListener("change", ({ target }) => {
    if (target.files.length) take(target.files[0]);
    target.value = "";
  });
  $("demonstration").addEventListener("click", () => play(demonstration()));
  $("render").addEventListener("click", () => showFilm(writeCapture(section()), smooth()));
  $("cancel").addEventListener("click", () => waiting?.abort());

  return {
    take,
    pause: player.pause,
    playing: player.playing,
    close() {
      waiting?.abort();
      player.close();
      $("film").hidden = true;
    },
    enable(on) {
      for (const id of ["driving", "demonstration", "pose", "light", "smooth"]) $(id).disabled = !on;
    },
  };
}

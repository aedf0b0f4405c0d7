// The view controls: layers, landmarks, zoom, rotation of the mesh, and comparison with the original photo.

const $ = (id) => document.getElementById(id);
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** `face` returns the fitted face, `mesh` the mesh view; both null if there is none. */
export function initViews({ stage, face, mesh }) {
  let layerChosen = false; // by the user, for this photo

  const setLayer = (layer) => {
    for (const input of document.querySelectorAll("[name=layer]")) input.checked = input.value === layer;
    stage.setLayer(layer);
    $("opacity-control").hidden = layer !== "both";
  };
  const rotate = () => {
    if (reducedMotion.matches) mesh()?.rotateBy(0.4, 0);
    else mesh()?.swing();
  };
  const compare = (on) => {
    $("compare").setAttribute("aria-pressed", on);
    stage.compare(on);
  };
  $("layers").addEventListener("change", ({ target }) => {
    layerChosen = true;
    setLayer(target.value);
  });
  const showOpacity = () => {
    const { value, min, max } = $("opacity");
    $("view").style.setProperty("--mesh-opacity", value);
    $("opacity").style.setProperty("--value", (value - min) / (max - min));
  };
  $("opacity").addEventListener("input", showOpacity);
  showOpacity();
  $("show-landmarks").addEventListener("change", ({ target }) => stage.setLandmarks(face().fit.landmarks, target.checked));
  $("zoom").addEventListener("change", ({ target }) => stage.zoom(face().fit.camera, target.checked));
  $("rotate").addEventListener("click", () => {
    if ($("mesh").hidden) setLayer("both");
    rotate();
  });
  $("compare").addEventListener("click", ({ target }) => compare(target.getAttribute("aria-pressed") !== "true"));

  return {
    setLayer,
    /** Resets the controls for a new photo, zoomed in if its face is small. */
    reset({ camera, landmarks }) {
      layerChosen = false;
      $("zoom").checked = stage.isSmall(camera);
      stage.zoom(camera, $("zoom").checked);
      stage.setLandmarks(landmarks, $("show-landmarks").checked);
    },
    /** Shows the mesh over the photo, and rotates it once unless the user prefers reduced motion. */
    presentMesh() {
      setLayer("both");
      if (!reducedMotion.matches) mesh().swing();
    },
    setMeshEnabled(enabled) {
      $("layers").disabled = $("rotate").disabled = !enabled;
    },
    /** Shows the photo while its expression changes, unless the user has chosen a layer. */
    showPhoto() {
      if (!layerChosen && $("view").dataset.layer === "both") setLayer("photo");
      compare(false);
    },
  };
}

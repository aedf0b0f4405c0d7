// The parts of three.js that the page uses; the bundle contains nothing else.
export {
  AmbientLight, Camera, DirectionalLight, Group, Matrix4, Mesh, MeshBasicMaterial, MeshStandardMaterial, Scene, Vector3,
  WebGLRenderer,
} from "three";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

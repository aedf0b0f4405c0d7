// What the page uses of three.js; the bundle holds nothing else.
export {
  AmbientLight, Camera, DirectionalLight, Group, Matrix4, Mesh, MeshBasicMaterial, MeshStandardMaterial, Scene, Vector3,
  WebGLRenderer,
} from "three";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

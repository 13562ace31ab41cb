/* ONNX Runtime as the linker sees it: see link_shared.cmake. It is never loaded. */
const void *OrtGetApiBase(void);
const void *OrtGetApiBase(void) { return 0; }

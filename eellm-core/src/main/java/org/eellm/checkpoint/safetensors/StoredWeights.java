package org.eellm.checkpoint.safetensors;

import java.nio.file.Path;
import java.util.SequencedMap;

/** The weights of a model folder, whatever files they lie in. */
public interface StoredWeights extends AutoCloseable {

  /** The model folder. */
  Path folder();

  /** All tensors by name; their bytes can be reached until this is closed. */
  SequencedMap<String, StoredTensor> tensors();

  @Override
  void close();
}

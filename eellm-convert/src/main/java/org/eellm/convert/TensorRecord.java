package org.eellm.convert;

import java.util.Map;

/**
 * One tensor in a new file, and what it was made of.
 *
 * @param name of the tensor in the new file
 * @param sha256 of its bytes there
 * @param origins the checksums of the stored tensors that it was made of, by their names
 * @param notFinite how many of its values are NaN or infinite
 */
public record TensorRecord(
    String name, String sha256, Map<String, String> origins, long notFinite) {
  public TensorRecord {
    origins = Map.copyOf(origins);
  }
}

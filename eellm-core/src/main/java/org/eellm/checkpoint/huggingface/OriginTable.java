package org.eellm.checkpoint.huggingface;

import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.StoredTensor;

/** The stored tensors of a model, from which each is taken once. */
final class OriginTable {
  private final Path folder;
  private final Map<String, StoredTensor> stored;
  private final Set<String> left;

  /**
   * @param folder for messages
   * @param derived names of tensors that follow from the configuration
   */
  OriginTable(Path folder, Map<String, StoredTensor> stored, Pattern derived) {
    this.folder = folder;
    this.stored = stored;
    this.left = new LinkedHashSet<>(stored.keySet());
    left.removeIf(name -> derived.matcher(name).matches());
  }

  /**
   * Takes a stored tensor.
   *
   * @throws CheckpointException if there is none, its shape is another, or its numbers are no
   *     weights
   */
  void take(String name, List<Long> expected) {
    StoredTensor tensor = stored.get(name);
    if (tensor == null) {
      throw new CheckpointException(
          "%s: the weights lack %s; download the whole model".formatted(folder, name));
    }
    if (!tensor.shape().equals(expected)) {
      throw new CheckpointException(
          "%s: tensor %s has shape %s, but %s follows from the configuration; they must be of the same model"
              .formatted(folder, name, tensor.shape(), expected));
    }
    switch (tensor.type()) { // without libtorch, which decoding need not have
      case F64, F32, F16, BF16 -> {}
      default -> throw tensor.noWeights(folder, name);
    }
    left.remove(name);
  }

  /** Takes all tensors that are left whose names begin so, and gives these names. */
  Set<String> takeAll(String prefix) {
    Set<String> taken =
        left.stream().filter(name -> name.startsWith(prefix)).collect(Collectors.toSet());
    left.removeAll(taken);
    return taken;
  }

  /** Forgets an output matrix that is stored though it is another tensor. */
  void dropIfEqual(String output, String shared) {
    StoredTensor a = stored.get(output);
    StoredTensor b = stored.get(shared);
    if (a != null
        && b != null
        && a.shape().equals(b.shape())
        && a.file().mismatch(b.file()) == -1) {
      left.remove(output);
    }
  }

  /** Forgets what was not taken and is the embedding, stored again as output matrix. */
  void dropEqual(String embedding) {
    List.copyOf(left).forEach(name -> dropIfEqual(name, embedding));
  }

  /**
   * @throws CheckpointException if a tensor was never taken
   */
  void requireAllTaken() {
    if (!left.isEmpty()) {
      throw new CheckpointException(
          "%s: the weights have %s%s, which this version does not compute with; remove them, or use a model of a family it knows"
              .formatted(
                  folder,
                  left.iterator().next(),
                  left.size() > 1 ? " and %d more tensors".formatted(left.size() - 1) : ""));
    }
  }
}

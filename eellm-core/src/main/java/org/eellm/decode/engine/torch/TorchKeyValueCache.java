package org.eellm.decode.engine.torch;

import java.util.HashMap;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Memory for keys and values. That of an attention is made when it first runs, as many never do.
 *
 * <p>Attentions are numbered as {@link org.eellm.model.KeyValueCache#attend} says. To be used in
 * inference mode.
 */
final class TorchKeyValueCache implements AutoCloseable {
  private final int pages;
  private final ScalarType format;
  private final RetainedTensors retained = new RetainedTensors();
  final Map<Integer, Tensor> memory = new HashMap<>(); // by attention, [2 K, rows, D]

  /**
   * @param format number format to store in; what is written is converted
   */
  TorchKeyValueCache(int pages, ScalarType format) {
    this.pages = pages;
    this.format = format;
  }

  ScalarType format() {
    return format;
  }

  int pages() {
    return pages;
  }

  /**
   * The keys of all heads of an attention, then its values, [2 K, rows, D].
   *
   * @param keyValue what it is to keep, [n, 2 K, D]
   */
  Tensor memory(int slot, Tensor keyValue) {
    Tensor present = memory.get(slot);
    if (present != null) {
      return present;
    }
    try (Scope _ = Scope.open()) {
      long rows = (long) pages * ModelRunner.PAGE;
      Tensor made =
          retained.retain(
              Tensors.empty(format, keyValue.device(), keyValue.size(1), rows, keyValue.size(2)));
      memory.put(slot, made);
      return made;
    }
  }

  void copyPage(int from, int to) {
    for (Tensor all : memory.values()) {
      page(all, to).copy_(page(all, from));
    }
  }

  private static Tensor page(Tensor all, int page) {
    return all.narrow(1, (long) page * ModelRunner.PAGE, ModelRunner.PAGE);
  }

  @Override
  public void close() {
    retained.close();
    memory.clear();
  }
}

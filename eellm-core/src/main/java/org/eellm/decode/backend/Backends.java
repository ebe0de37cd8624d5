package org.eellm.decode.backend;

import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.cpu.KernelProperties;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.head.Vocabulary;
import org.eellm.kernel.machine.Threads;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.ModelUsers;

/** Chooses what takes rows through a model: own kernels, or libtorch. */
public final class Backends {
  private Backends() {}

  /**
   * A runner for a model, where the model is: with own kernels (machine code, or Java) on CPUs, but
   * for a decoder that libtorch has quantized.
   *
   * @param model whole, or one stage of a pipeline
   * @throws IllegalStateException if the model is closed
   */
  public static ModelRunner runner(DecodingModel model, Vocabulary vocabulary, int pages) {
    KernelProperties.check();
    try (ModelUsers.Use _ = model.users().add()) {
      return model instanceof Decoder decoder && !KernelRunner.takes(decoder)
          ? new TorchRunner(decoder, vocabulary, pages)
          : new KernelRunner(model, vocabulary, pages, Threads.count());
    }
  }
}

package org.eellm.model;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameters;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.kernel.SwiGlu;

/**
 * The MLP: {@code down(silu(gate(x)) * up(x))}, or {@code down(gelu(up(x)))} without a gate.
 *
 * @param up gate and up stacked with SwiGLU, [2 ffn, h]; up alone with GELU, [ffn, h]
 * @param mlp with this rank's part of the inner width
 */
public record MlpBranch(
    Norm norm, Linear up, Linear down, ModelConfig.Mlp mlp, BranchEnd end, ResidualPath path)
    implements Branch {
  private static final String TANH = "tanh";

  /**
   * @param x input, [n, h]
   * @param normed [n, h]
   * @param inner output of {@code up}, [n, 2 ffn] or [n, ffn]
   * @param active what {@code down} multiplies, [n, ffn]
   * @param end what the end of the branch keeps
   */
  record Saved(Tensor x, Tensor normed, Tensor inner, Tensor active, BranchEnd.Saved end)
      implements Tape {}

  /**
   * @param layer prefix of the norms, which an exit's branch MLP shares with its layer
   * @param maps prefix of the linear maps
   * @param slot tells its dropout apart
   */
  static MlpBranch of(
      ModelConfig model,
      Learning learning,
      Parameters parameters,
      String layer,
      String maps,
      int slot) {
    List<String> ups =
        model.activation().gated()
            ? List.of(maps + ".gate_proj.weight", maps + ".up_proj.weight")
            : List.of(maps + ".up_proj.weight");
    return new MlpBranch(
        Norm.of(
            model.normPlacement().before(),
            model.norms(),
            parameters,
            layer + ".post_attention_layernorm"),
        Linear.column(parameters, learning, ups, Dropout.siteOfChange(4L * slot + 2)),
        Linear.row(
            parameters, learning, maps + ".down_proj.weight", Dropout.siteOfChange(4L * slot + 3)),
        model.mlp().shard(parameters.tensorParallel().size()),
        BranchEnd.of(model, parameters, layer + ".mlp_output_norm", 4L * slot + 3),
        ResidualPath.ofMlp(model));
  }

  @Override
  public Output forward(Tensor stream, ForwardContext context, RetainedTensors retained) {
    try (Scope scope = Scope.open()) {
      Tensor x = path.input(stream);
      Tensor normed = norm.forward(x);
      Tensor inner = up.forward(normed, context);
      Tensor active = activate(inner);
      Tensor output = down.forward(active, context);
      Saved saved =
          new Saved(
              retained.retain(x),
              retained.retain(normed),
              retained.retain(inner),
              retained.retain(active),
              end.save(output, retained));
      return new Output(scope.moveToOuter(end.forward(output, context)), saved);
    }
  }

  @Override
  public Tensor backward(Tape tape, Tensor gradient, ForwardContext context, Gradients gradients) {
    Saved saved = (Saved) tape;
    try (Scope scope = Scope.open()) {
      Tensor gInner = innerBackward(saved, gradient, context, gradients);
      Tensor gNormed = up.backward(saved.normed(), gInner, context, gradients);
      return scope.moveToOuter(norm.backward(saved.x(), gNormed, gradients));
    }
  }

  /** An exit's branch MLP has its layer's norm, which does not learn where only heads do. */
  @Override
  public void backwardWeights(
      Tape tape, Tensor gradient, ForwardContext context, Gradients gradients) {
    Saved saved = (Saved) tape;
    try (Scope _ = Scope.open()) {
      if (norm.requiresGrad()) {
        backward(tape, gradient, context, gradients);
      } else {
        up.backwardWeights(
            saved.normed(), innerBackward(saved, gradient, context, gradients), gradients);
      }
    }
  }

  /** The gradient of what {@code up} gives, from that of the output. */
  private Tensor innerBackward(
      Saved saved, Tensor gradient, ForwardContext context, Gradients gradients) {
    Tensor g = end.backward(saved.end(), path.outputGradient(gradient), context, gradients);
    Tensor gActive = down.backward(saved.active(), g, context, gradients); // [n, ffn]
    return activateBackward(saved.inner(), gActive);
  }

  @Override
  public Tensor generate(Tensor stream, DecodeContext rows, KeyValueCache cache) {
    try (Scope scope = Scope.open()) {
      Tensor inner = up.forward(norm.forward(path.input(stream)));
      return scope.moveToOuter(end.generate(down.forward(activate(inner))));
    }
  }

  private Tensor activate(Tensor inner) {
    return activate(inner, mlp);
  }

  /** The activations that {@code down} multiplies, [n, ffn], of what {@code up} gives. */
  static Tensor activate(Tensor inner, ModelConfig.Mlp mlp) {
    return switch (mlp.activation()) {
      case SWIGLU ->
          SwiGlu.fits(inner)
              ? SwiGlu.forward(inner)
              : torch.silu(gate(inner, mlp)).mul_(gated(inner, mlp));
      case GELU -> torch.gelu(inner);
      case GELU_TANH -> torch.gelu(inner, TANH);
      case GEGLU_TANH -> torch.gelu(gate(inner, mlp), TANH).mul_(gated(inner, mlp));
    };
  }

  private Tensor activateBackward(Tensor inner, Tensor gActive) {
    return switch (mlp.activation()) {
      case GELU -> torch.gelu_backward(gActive, inner);
      case GELU_TANH -> torch.gelu_backward(gActive, inner, TANH);
      case GEGLU_TANH -> {
        Tensor gInner = torch.empty_like(inner);
        torch.mul_out(gated(gInner, mlp), gActive, torch.gelu(gate(inner, mlp), TANH));
        gate(gInner, mlp)
            .copy_(torch.gelu_backward(gActive.mul_(gated(inner, mlp)), gate(inner, mlp), TANH));
        yield gInner;
      }
      case SWIGLU -> {
        if (SwiGlu.fits(inner)) {
          yield SwiGlu.backward(inner, gActive);
        }
        Tensor gInner = torch.empty_like(inner);
        torch.mul_out(gated(gInner, mlp), gActive, torch.silu(gate(inner, mlp)));
        torch.silu_backward_out(
            gate(gInner, mlp), gActive.mul_(gated(inner, mlp)), gate(inner, mlp));
        yield gInner;
      }
    };
  }

  private static Tensor gate(Tensor inner, ModelConfig.Mlp mlp) {
    return inner.narrow(1, 0, mlp.width());
  }

  private static Tensor gated(Tensor inner, ModelConfig.Mlp mlp) {
    return inner.narrow(1, mlp.width(), mlp.width());
  }
}

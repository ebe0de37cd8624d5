package org.eellm.model;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Residual;

/**
 * How a branch's output joins the stream. Where attention and MLP are parallel, the stream between
 * them is twice as wide, [n, 2 hidden]: the sum so far, which is x + attention(norm1(x)), beside x,
 * which the MLP reads. So whatever taps the stream there, a layer's own MLP or an exit's branch
 * MLP, finds both.
 */
public enum ResidualPath {
  /** Reads the stream x, [n, hidden], and makes x + delta of it. */
  SEQUENTIAL {
    @Override
    Tensor input(Tensor stream) {
      return stream;
    }

    @Override
    public Tensor add(Tensor stream, Tensor delta) {
      return delta.add_(stream);
    }

    @Override
    Tensor outputGradient(Tensor g) {
      return g;
    }

    @Override
    public Tensor gradient(Tensor g, Tensor input) {
      return input.add_(g);
    }
  },

  /** Attention beside an MLP: reads x, [n, hidden], and makes x + delta beside x of it. */
  PARALLEL_ATTENTION {
    @Override
    Tensor input(Tensor stream) {
      return stream;
    }

    @Override
    public Tensor add(Tensor stream, Tensor delta) {
      return sideBySide(delta.add_(stream), stream);
    }

    @Override
    Tensor outputGradient(Tensor g) {
      return half(g, 0).contiguous();
    }

    @Override
    public Tensor gradient(Tensor g, Tensor input) {
      return input.add_(half(g, 0)).add_(half(g, 1));
    }
  },

  /** An MLP beside attention: reads x of sum beside x, [n, 2 hidden], and makes sum + delta. */
  PARALLEL_MLP {
    @Override
    Tensor input(Tensor stream) {
      return half(stream, 1);
    }

    @Override
    public Tensor add(Tensor stream, Tensor delta) {
      return delta.add_(half(stream, 0));
    }

    @Override
    Tensor outputGradient(Tensor g) {
      return g;
    }

    @Override
    public Tensor gradient(Tensor g, Tensor input) {
      return sideBySide(g, input);
    }
  };

  static ResidualPath ofAttention(ModelConfig model) {
    return model.residual() == Residual.PARALLEL ? PARALLEL_ATTENTION : SEQUENTIAL;
  }

  /** The path of a layer's MLP, and of an exit's that takes its place. */
  static ResidualPath ofMlp(ModelConfig model) {
    return model.residual() == Residual.PARALLEL ? PARALLEL_MLP : SEQUENTIAL;
  }

  /** The input of the branch's norm, [n, hidden], from the stream before the branch. */
  abstract Tensor input(Tensor stream);

  /**
   * The stream after the branch.
   *
   * @param stream before the branch
   * @param delta the branch's output, [n, hidden], whose memory may become the result's
   */
  public abstract Tensor add(Tensor stream, Tensor delta);

  /** The gradient of the branch's output, [n, hidden], from that of the stream after it. */
  abstract Tensor outputGradient(Tensor g);

  /**
   * The gradient of the stream before the branch.
   *
   * @param g of the stream after it
   * @param input of what the branch reads, through the branch, [n, hidden], whose memory may become
   *     the result's
   */
  public abstract Tensor gradient(Tensor g, Tensor input);

  private static Tensor half(Tensor wide, int which) {
    long width = wide.size(1) / 2;
    return wide.narrow(1, which * width, width);
  }

  private static Tensor sideBySide(Tensor left, Tensor right) {
    return torch.cat(new TensorVector(left, right), 1);
  }
}

package org.eellm.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyStarts;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Attention by blocks against libtorch's own, with its automatic gradients. */
final class CausalAttentionTest {
  private static final long BATCH = 2;
  private static final long KEY_VALUE_HEADS = 2;
  private static final long GROUP = 3;
  private static final long WIDTH = 8;

  @ParameterizedTest
  @ValueSource(longs = {1, 127, 128, 256, 300, 641}) // one block, whole blocks, a shorter last one
  void forwardBackward_sequence_equalsLibtorch(long length) {
    requireLibtorchs(length, KeyStarts.SEQUENCE);
  }

  @ParameterizedTest
  @ValueSource(longs = {2, 128, 300, 641})
  void forwardBackward_documents_equalsLibtorchWithMask(long length) {
    try (Scope _ = Scope.open()) {
      Tensor half = positions(length).ge(new Scalar(length / 2)).mul(new Scalar(length / 2));
      Tensor third = positions(length).ge(new Scalar(length / 3)).mul(new Scalar(length / 3));
      requireLibtorchs(
          length, new KeyStarts.OfDocument(torch.stack(new TensorVector(half, third), 0)));
    }
  }

  private static Tensor positions(long length) {
    return torch.arange(new Scalar(length), Torch.options(ScalarType.Long, Torch.cpu()));
  }

  private static void requireLibtorchs(long length, KeyStarts starts) {
    try (Scope scope = Scope.open()) {
      torch.manual_seed(length);
      long heads = BATCH * KEY_VALUE_HEADS;
      Tensor query = torch.randn(BATCH, KEY_VALUE_HEADS, GROUP, length, WIDTH);
      Tensor key = torch.randn(heads, length, WIDTH);
      Tensor value = torch.randn(heads, length, WIDTH);
      Tensor gradient = torch.randn(BATCH, KEY_VALUE_HEADS, GROUP, length, WIDTH);
      ForwardContext context =
          new ForwardContext(
              BATCH,
              length,
              starts,
              Optional.empty(),
              Dropout.NONE,
              false,
              TensorParallel.singleRank());
      CausalAttention attention = new CausalAttention(context, 0, 1);

      Tensor out = torch.empty_like(query);
      List<Tensor> saved = attention.forward(query, key, value, out);
      CausalAttention.Result retained = attention.backward(query, key, value, saved, gradient);
      CausalAttention.Result again = attention.recomputingBackward(query, key, value, gradient);
      List<CausalAttention.Result> results = new ArrayList<>(List.of(retained, again));
      List<Tensor> outputs = new ArrayList<>(List.of(out));
      if (starts instanceof KeyStarts.OfSequence) { // as on a GPU
        Tensor fusedOut = torch.empty_like(query);
        results.add(
            FusedAttention.backward(FusedAttention.forward(query, key, value, fusedOut), gradient));
        outputs.add(fusedOut);
      }

      Tensor q = leaf(query.view(heads, GROUP, length, WIDTH));
      Tensor k = leaf(key.view(heads, 1, length, WIDTH));
      Tensor v = leaf(value.view(heads, 1, length, WIDTH));
      Tensor expected =
          torch.scaled_dot_product_attention(
              q,
              k.expand(heads, GROUP, length, WIDTH),
              v.expand(heads, GROUP, length, WIDTH),
              new TensorOptional(seen(length, starts)),
              0,
              false,
              new DoubleOptional(1.0),
              false);
      TensorVector gradients =
          torch.grad(
              new TensorVector(expected),
              new TensorVector(q, k, v),
              new TensorVector(gradient.view(expected.sizes())),
              new BoolOptional(),
              false,
              false);
      outputs.forEach(output -> requireClose(output, expected));
      for (CausalAttention.Result result : results) {
        requireClose(result.query(), gradients.get(0));
        requireClose(result.key(), gradients.get(1));
        requireClose(result.value(), gradients.get(2));
      }
    }
  }

  /** Whether a query sees a key, [b K, 1, s, s]. */
  private static Tensor seen(long length, KeyStarts starts) {
    Tensor key = positions(length);
    Tensor causal = key.le(key.view(length, 1)).expand(BATCH, length, length);
    Tensor seen =
        starts instanceof KeyStarts.OfDocument(Tensor first)
            ? causal.logical_and(key.ge(first.view(BATCH, length, 1)))
            : causal;
    return seen.repeat_interleave(KEY_VALUE_HEADS, new LongOptional(0), new LongOptional())
        .unsqueeze(1);
  }

  private static Tensor leaf(Tensor value) {
    return value.clone().requires_grad_(true);
  }

  private static void requireClose(Tensor actual, Tensor expected) {
    Tensor difference = actual.reshape(expected.sizes()).sub(expected.detach()).abs();
    assertThat(difference.max().item_double()).isLessThan(1e-4);
  }
}

package org.eellm.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig.Attention;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyStarts;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Attention by blocks against libtorch's own, with its automatic gradients. */
final class CausalAttentionTest {
  private static final long BATCH = 2;
  private static final long KEY_VALUE_HEADS = 2;
  private static final long GROUP = 3;
  private static final long WIDTH = 8;
  private static final Attention ALL = attention(Integer.MAX_VALUE, 0, 0);

  private static Attention attention(int window, double softcap, double dropout) {
    return new Attention(
        (int) (KEY_VALUE_HEADS * GROUP),
        (int) KEY_VALUE_HEADS,
        (int) WIDTH,
        1,
        softcap,
        window,
        dropout);
  }

  /** One block, whole blocks, a shorter last one; of bfloat16 with and without whole vectors. */
  private static final String LENGTHS = "1, 127, 128, 256, 257, 400";

  static Stream<Arguments> cases() {
    return Stream.of(LENGTHS.split(", "))
        .map(Long::parseLong)
        .flatMap(
            length ->
                Stream.of(ScalarType.Float, ScalarType.BFloat16)
                    .map(type -> Arguments.of(length, type)));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void forwardBackward_sequence_equalsLibtorch(long length, ScalarType type) {
    try (Scope _ = Scope.open()) {
      requireLibtorchs(Inputs.random(BATCH, length, type), KeyStarts.SEQUENCE, ALL);
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void forwardBackward_documents_equalsLibtorchWithMask(long length, ScalarType type) {
    try (Scope _ = Scope.open()) {
      requireLibtorchs(Inputs.random(BATCH, length, type), documents(length, 2, 3), ALL);
    }
  }

  /** Shorter than a block, as long, longer; and longer than most sequences. */
  private static final int[] WINDOWS = {1, 5, 128, 200};

  @ParameterizedTest
  @MethodSource("cases")
  void forwardBackward_windows_equalsLibtorchWithMask(long length, ScalarType type) {
    try (Scope _ = Scope.open()) {
      for (int window : WINDOWS) {
        Attention attention = attention(window, 0, 0);
        requireLibtorchs(Inputs.random(BATCH, length, type), KeyStarts.SEQUENCE, attention);
        requireLibtorchs(Inputs.random(BATCH, length, type), documents(length, 2, 3), attention);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void forwardBackward_softCap_equalsLibtorchsOperations(long length, ScalarType type) {
    try (Scope _ = Scope.open()) {
      for (int window : new int[] {Integer.MAX_VALUE, 40}) {
        requireLibtorchs(
            Inputs.random(BATCH, length, type), documents(length, 2, 3), attention(window, 1.5, 0));
      }
    }
  }

  @Test
  void forward_window_keepsFewerProbabilities() {
    try (Scope _ = Scope.open()) {
      Inputs inputs = Inputs.random(1, 1024, ScalarType.Float);
      long all = kept(ContextParallel.singleRank(), inputs, attention(Integer.MAX_VALUE, 0, 0));
      long few = kept(ContextParallel.singleRank(), inputs, attention(128, 0, 0));
      assertThat(few).isLessThan(all / 2);
    }
  }

  /** Layer dropout: the others of a batch do not go through the layer. */
  @ParameterizedTest
  @MethodSource("cases")
  void forwardBackward_someSequencesOfABatch_equalsEachAlone(long length, ScalarType type) {
    try (Scope _ = Scope.open()) {
      Inputs all = Inputs.random(5, length, type);
      KeyStarts starts = documents(length, 2, 3, 4, 5, 6);
      Inputs some = all.ofSequences(SOME);
      ForwardContext context = context(5, length, starts).ofSequences(index(SOME));
      Tensor out = torch.empty_like(some.query());
      CausalAttention.Result result = forwardBackward(context, some, out);
      for (int i = 0; i < SOME.length; i++) {
        Inputs own = all.ofSequences(SOME[i]);
        Tensor alone = torch.empty_like(own.query());
        KeyStarts ownStarts = documents(length, 2 + SOME[i]);
        CausalAttention.Result expected =
            forwardBackward(context(1, length, ownStarts), own, alone);
        requireClose(out.narrow(0, i, 1), alone);
        requireClose(result.query().narrow(0, i, 1), expected.query());
        requireClose(heads(result.key(), i, 1), expected.key());
        requireClose(heads(result.value(), i, 1), expected.value());
      }
    }
  }

  private static final long[] SOME = {3, 1, 4};

  /** Blocks of few tokens, and of several pieces, the last of them shorter. */
  static Stream<Arguments> sharings() {
    return Stream.of("2 24", "3 24", "4 24", "2 528")
        .map(text -> text.split(" "))
        .flatMap(
            words ->
                Stream.of(ScalarType.Float, ScalarType.BFloat16)
                    .map(
                        type ->
                            Arguments.of(
                                Integer.parseInt(words[0]), Long.parseLong(words[1]), type)));
  }

  @ParameterizedTest
  @MethodSource("sharings")
  void forwardBackward_sequencesThatRanksShare_equalsOneRanks(
      int ranks, long length, ScalarType type) {
    try (Scope _ = Scope.open()) {
      Inputs whole = Inputs.random(BATCH, length, type);
      List<Sharing> sharings = new ArrayList<>();
      for (KeyStarts starts : List.of(KeyStarts.SEQUENCE, documents(length, 2, 3))) {
        for (Attention attention :
            List.of(ALL, attention(Integer.MAX_VALUE, 0, 0.3), attention(7, 1.5, 0.3))) {
          ForwardContext alone = context(BATCH, length, starts, ContextParallel.singleRank());
          Tensor out = torch.empty_like(whole.query());
          CausalAttention.Result expected = forwardBackward(alone, attention, whole, out);
          sharings.add(new Sharing(starts, attention, out, expected));
        }
      }
      InProcessRanks.run(
          new Mesh(1, ranks, 1, 1),
          world -> {
            ContextParallel ring = new ContextParallel(world.cp());
            for (Sharing sharing : sharings) {
              try (Scope _ = Scope.open()) {
                requirePart(ring, whole, sharing);
              }
            }
            return true;
          });
    }
  }

  /** What one rank computes of some attention. */
  private record Sharing(
      KeyStarts starts, Attention attention, Tensor out, CausalAttention.Result expected) {}

  private static void requirePart(ContextParallel ring, Inputs whole, Sharing sharing) {
    Inputs own =
        new Inputs(
            local(ring, whole.query()),
            local(ring, whole.key()),
            local(ring, whole.value()),
            local(ring, whole.gradient()));
    KeyStarts ownStarts =
        sharing.starts() instanceof KeyStarts.OfTokens(Tensor all)
            ? new KeyStarts.OfTokens(ring.local(all.view(-1), BATCH).view(BATCH, -1))
            : sharing.starts();
    Tensor ownOut = torch.empty_like(own.query());
    CausalAttention.Result result =
        forwardBackward(
            context(BATCH, own.query().size(3), ownStarts, ring), sharing.attention(), own, ownOut);

    requireClose(ownOut, local(ring, sharing.out()));
    CausalAttention.Result expected = sharing.expected();
    requireClose(result.query(), local(ring, expected.query()));
    requireClose(result.key(), local(ring, expected.key()));
    requireClose(result.value(), local(ring, expected.value()));
  }

  /** A rank's tokens of [..., S, D]. */
  private static Tensor local(ContextParallel ring, Tensor x) {
    long sequences = x.numel() / x.size(-1) / x.size(-2);
    Tensor rows = ring.local(x.reshape(-1, x.size(-1)), sequences);
    return x.dim() == 3
        ? rows.view(x.size(0), -1, x.size(2))
        : rows.view(x.size(0), x.size(1), x.size(2), -1, x.size(4));
  }

  /** Of ranks that share sequences, in float32 numbers. */
  @Test
  void forward_sequencesThatRanksShare_keepsLessTheMoreTheyAre() {
    try (Scope _ = Scope.open()) {
      Inputs whole = Inputs.random(1, 2048, ScalarType.Float);
      long alone = kept(ContextParallel.singleRank(), whole, ALL);
      for (int ranks : new int[] {2, 4}) {
        long perQuery = KEY_VALUE_HEADS * GROUP * (WIDTH + 1); // its output and the sum's logarithm
        assertThat(
                InProcessRanks.run(
                    new Mesh(1, ranks, 1, 1),
                    world -> kept(new ContextParallel(world.cp()), whole, ALL)))
            .allSatisfy(
                kept ->
                    assertThat(kept).isEqualTo(2048 / ranks * perQuery).isLessThan(alone / ranks));
      }
    }
  }

  private static long kept(ContextParallel ring, Inputs whole, Attention attention) {
    try (Scope _ = Scope.open()) {
      Tensor query = local(ring, whole.query());
      ForwardContext context = context(1, query.size(3), KeyStarts.SEQUENCE, ring);
      Tensor key = local(ring, whole.key());
      Tensor value = local(ring, whole.value());
      return new CausalAttention(context, attention, 1)
          .forward(query, key, value, torch.empty_like(query)).stream()
              .mapToLong(Tensor::numel)
              .sum();
    }
  }

  private static CausalAttention.Result forwardBackward(
      ForwardContext context, Inputs inputs, Tensor out) {
    return forwardBackward(context, ALL, inputs, out);
  }

  private static CausalAttention.Result forwardBackward(
      ForwardContext context, Attention attention, Inputs inputs, Tensor out) {
    CausalAttention causal = new CausalAttention(context, attention, 1);
    List<Tensor> saved = causal.forward(inputs.query(), inputs.key(), inputs.value(), out);
    return causal.backward(inputs.query(), inputs.key(), inputs.value(), saved, inputs.gradient());
  }

  /** Two documents in each sequence, the second from the given part of it on. */
  private static KeyStarts documents(long length, long... parts) {
    Tensor[] starts =
        LongStream.of(parts)
            .mapToObj(
                part ->
                    positions(length).ge(new Scalar(length / part)).mul(new Scalar(length / part)))
            .toArray(Tensor[]::new);
    return new KeyStarts.OfTokens(torch.stack(new TensorVector(starts), 0));
  }

  private static Tensor positions(long length) {
    return torch.arange(new Scalar(length), Torch.options(ScalarType.Long, Torch.cpu()));
  }

  private static Tensor index(long... numbers) {
    return torch.stack(
        new TensorVector(
            LongStream.of(numbers)
                .mapToObj(i -> torch.scalar_tensor(new Scalar(i), positions(1).options()))
                .toArray(Tensor[]::new)),
        0);
  }

  /** The key/value heads of some sequences, [count K, s, D]. */
  private static Tensor heads(Tensor x, long first, long count) {
    return x.narrow(0, first * KEY_VALUE_HEADS, count * KEY_VALUE_HEADS);
  }

  /** Query and gradient [b, K, G, s, D], key and value [b K, s, D]. */
  private record Inputs(Tensor query, Tensor key, Tensor value, Tensor gradient) {
    static Inputs random(long batch, long length, ScalarType type) {
      torch.manual_seed(length);
      long[] queries = {batch, KEY_VALUE_HEADS, GROUP, length, WIDTH};
      long[] keys = {batch * KEY_VALUE_HEADS, length, WIDTH};
      return new Inputs(
          torch.randn(queries).mul(new Scalar(1 / Math.sqrt(WIDTH))).to(type),
          torch.randn(keys).to(type),
          torch.randn(keys).to(type),
          torch.randn(queries).to(type));
    }

    Inputs ofSequences(long... numbers) {
      Tensor index = index(numbers);
      return new Inputs(
          query.index_select(0, index),
          headsOf(key, index),
          headsOf(value, index),
          gradient.index_select(0, index));
    }

    private Tensor headsOf(Tensor x, Tensor index) {
      return x.view(query.size(0), KEY_VALUE_HEADS, x.size(1), WIDTH)
          .index_select(0, index)
          .view(-1, x.size(1), WIDTH);
    }
  }

  private static ForwardContext context(long batch, long length, KeyStarts starts) {
    return context(batch, length, starts, ContextParallel.singleRank());
  }

  private static ForwardContext context(
      long batch, long length, KeyStarts starts, ContextParallel ring) {
    return new ForwardContext(
        batch,
        length,
        starts,
        Map.of(),
        new Dropout.Keyed(7),
        false,
        TensorParallel.singleRank(),
        ring);
  }

  private static void requireLibtorchs(Inputs inputs, KeyStarts starts, Attention attention) {
    long heads = BATCH * KEY_VALUE_HEADS;
    Tensor query = inputs.query();
    long length = query.size(3);
    ForwardContext context = context(BATCH, length, starts);
    Tensor out = torch.empty_like(query);
    CausalAttention.Result retained = forwardBackward(context, attention, inputs, out);
    CausalAttention.Result again =
        new CausalAttention(context, attention, 1)
            .recomputingBackward(query, inputs.key(), inputs.value(), inputs.gradient());
    List<CausalAttention.Result> results = new ArrayList<>(List.of(retained, again));
    List<Tensor> outputs = new ArrayList<>(List.of(out));
    if (starts instanceof KeyStarts.OfSequence && attention == ALL) { // as on a GPU
      Tensor fusedOut = torch.empty_like(query);
      results.add(
          FusedAttention.backward(
              FusedAttention.forward(query, inputs.key(), inputs.value(), fusedOut),
              inputs.gradient()));
      outputs.add(fusedOut);
    }

    Tensor q = leaf(query.view(heads, GROUP, length, WIDTH));
    Tensor k = leaf(inputs.key().view(heads, 1, length, WIDTH));
    Tensor v = leaf(inputs.value().view(heads, 1, length, WIDTH));
    Tensor expected = attended(q, k, v, seen(length, starts, attention.window()), attention);
    TensorVector gradients =
        torch.grad(
            new TensorVector(expected),
            new TensorVector(q, k, v),
            new TensorVector(inputs.gradient().to(ScalarType.Float).view(expected.sizes())),
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

  /** By libtorch: in one call, or where scores are capped in several. */
  private static Tensor attended(Tensor q, Tensor k, Tensor v, Tensor seen, Attention attention) {
    long[] shape = {q.size(0), GROUP, q.size(2), WIDTH};
    if (attention.softcap() == 0) {
      return torch.scaled_dot_product_attention(
          q,
          k.expand(shape),
          v.expand(shape),
          new TensorOptional(seen),
          0,
          false,
          new DoubleOptional(1.0),
          false);
    }
    Scalar cap = new Scalar(attention.softcap());
    Tensor scores = torch.matmul(q, k.transpose(2, 3)).div(cap).tanh().mul(cap);
    Tensor hidden = seen.logical_not();
    Tensor masked = scores.masked_fill(hidden, new Scalar(Double.NEGATIVE_INFINITY));
    return torch.matmul(torch.softmax(masked, -1), v);
  }

  /** Whether a query sees a key, [b K, 1, s, s]. */
  private static Tensor seen(long length, KeyStarts starts, int window) {
    Tensor key = positions(length);
    Tensor query = key.view(length, 1);
    Tensor near = query.sub(key).lt(new Scalar((long) window));
    Tensor causal = key.le(query).logical_and(near).expand(BATCH, length, length);
    Tensor seen =
        starts instanceof KeyStarts.OfTokens(Tensor first)
            ? causal.logical_and(key.ge(first.view(BATCH, length, 1)))
            : causal;
    return seen.repeat_interleave(KEY_VALUE_HEADS, new LongOptional(0), new LongOptional())
        .unsqueeze(1);
  }

  /** In float32, whatever the kernels take. */
  private static Tensor leaf(Tensor value) {
    return value.to(ScalarType.Float).clone().requires_grad_(true);
  }

  /** Within what rounding to the format of {@code actual} makes of the largest number. */
  private static void requireClose(Tensor actual, Tensor expected) {
    Tensor wanted = expected.detach().to(ScalarType.Float);
    Tensor difference = actual.to(ScalarType.Float).reshape(wanted.sizes()).sub(wanted).abs();
    double tolerance = Tensors.scalarType(actual) == ScalarType.BFloat16 ? 0.02 : 1e-5;
    double largest = Math.max(1, wanted.abs().max().item_double());
    assertThat(difference.max().item_double()).isLessThan(tolerance * largest);
  }
}

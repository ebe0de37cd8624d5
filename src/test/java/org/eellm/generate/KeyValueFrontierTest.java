package org.eellm.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Whatever left where and whatever was filled when: the keys and values that are there are those of
 * a fresh pass of all tokens through the whole model.
 */
final class KeyValueFrontierTest {
  private static final int THREADS = Torch.threads();

  @BeforeAll
  static void useOneThread() {
    Torch.setThreads(1); // the models are tiny
  }

  @AfterAll
  static void useAllThreads() {
    Torch.setThreads(THREADS);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6})
  void step_afterRandomExitsJoinsAndLeaves_keepsExactKeysAndValues(int seed) {
    Random random = new Random(seed);
    try (Decoder model = seed % 2 == 0 ? SmallModel.plain() : SmallModel.withBlocks()) {
      Engine engine = new Engine(model, SmallModel.VOCABULARY, 1 + random.nextInt(12));
      List<Sequence> all = new ArrayList<>();
      List<Sequence> active = new ArrayList<>();
      for (int step = 0; step < 40; step++) {
        if (active.isEmpty() || random.nextInt(6) == 0) {
          Sequence joining = sequence(engine, model, all.size(), random);
          all.add(joining);
          active.add(joining);
        }
        engine.step(active, TokenListener.none());
        active.removeIf(Sequence::finished);
      }
      // Those that are finished left rows behind on purpose; the others must be exact.
      assertThat(active).isNotEmpty();
      active.forEach(sequence -> assertExact(model, sequence));
      all.forEach(Sequence::close);
    }
  }

  private static Sequence sequence(Engine engine, Decoder model, int index, Random random) {
    List<Integer> prompt =
        random.ints(1 + random.nextInt(9), 0, SmallModel.VOCABULARY).boxed().toList();
    Random exits = new Random(random.nextLong());
    double share = exits.nextDouble();
    ExitPolicy policy = said -> exits.nextDouble() < share;
    if (random.nextBoolean()) {
      policy = ExitPolicies.among(List.of(1, 4), policy);
    }
    Sampler sampler = said -> exits.nextInt(SmallModel.VOCABULARY);
    Request request = new Request(prompt, 5 + random.nextInt(50), Set.of(), policy, sampler);
    return engine.start(index, request, policy.heads(model.heads()));
  }

  private static void assertExact(Decoder model, Sequence sequence) {
    int embedded = sequence.tokens().size() - 1; // the newest token has yet to go in
    List<Integer> ids = IntStream.range(0, embedded).map(sequence.tokens()::get).boxed().toList();
    Request whole = new Request(ids, 1, Set.of(), said -> false, Sampler.greedy());
    Engine engine = new Engine(model, SmallModel.VOCABULARY, 1);
    try (Sequence fresh = engine.start(0, whole, model.heads())) {
      engine.step(List.of(fresh), TokenListener.none());
      int layers = model.architecture().model().numLayers();
      for (int layer = 0; layer < layers; layer++) {
        int branches = 2 * layer;
        int waiting =
            sequence.taps().headSet(branches + 1).stream()
                .mapToInt(tap -> sequence.pending(tap).count())
                .sum();
        assertSame(sequence.cache(), fresh.cache(), layer, embedded - waiting);
      }
      for (int exit = 0; exit < model.heads().size() - 1; exit++) {
        Head head = model.heads().get(exit);
        if (head.hasAttention() && sequence.uses(head)) {
          int waiting =
              sequence.taps().headSet(head.tap()).stream()
                      .mapToInt(tap -> sequence.pending(tap).count())
                      .sum()
                  + sequence.unseen(head).count();
          assertSame(sequence.cache(), fresh.cache(), layers + exit, embedded - waiting);
        }
      }
    }
  }

  private static void assertSame(SequenceCache cache, SequenceCache fresh, int slot, int length) {
    if (length == 0) {
      return; // nothing has come so far
    }
    assertClose(cache.keys(slot, length), fresh.keys(slot, length), "keys", slot);
    assertClose(cache.values(slot, length), fresh.values(slot, length), "values", slot);
  }

  private static void assertClose(Tensor ours, Tensor exact, String what, int slot) {
    try (Scope _ = Scope.open()) {
      float largest = Tensors.toFloats(exact.abs().max())[0];
      assertThat(Tensors.toFloats(ours.sub(exact).abs().max())[0])
          .as("%s of attention %d, which go up to %f", what, slot, largest)
          .isLessThan(1e-5f * largest);
    }
  }
}

package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.eellm.chat.ChatTemplate;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;
import org.junit.jupiter.api.Test;

/** How texts are decoded where a request leaves that open. */
final class ServersDecodingTest extends WithServer {
  @Test
  void completion_nothingSaidOfDecoding_isDecodedAsTheServerSays() {
    ServedModel served = served(server.served.model(), DecodingSettings.of(DecodingMode.RECOMPUTE));
    assertThat(asked(served, "{}").decoding()).isInstanceOf(DecodingMethod.Recompute.class);
    CompletionRequest told = asked(served, "{\"per_token\": true}");
    assertThat(told.perToken()).isTrue();
    assertThat(told.decoding()).isInstanceOf(DecodingMethod.Recompute.class);
    assertThat(asked(served, "{\"threshold\": 0.5}").decoding())
        .isInstanceOf(DecodingMethod.EarlyExit.class);
  }

  @Test
  void completion_earlyExitOfACalibratedModel_leavesAsItSays() {
    LoadedModel model = server.served.model();
    Calibration own =
        Calibration.of(PolicyName.MARGIN, new TreeMap<>(Map.of(2, 0.0)), new TreeMap<>());
    LoadedModel calibrated =
        new LoadedModel(
            model.files(),
            model.decoder(),
            model.tokenizer(),
            model.vocabulary(),
            Optional.of(own),
            model.endTokens());
    ServedModel served = served(calibrated, DecodingSettings.NONE);

    assertThat(heads(served, "{\"mode\": \"early-exit\"}")).isEqualTo(2); // with the final head
    assertThat(heads(served, "{\"mode\": \"early-exit\", \"threshold\": 0.5}")).isEqualTo(4);
  }

  private static ServedModel served(LoadedModel model, DecodingSettings defaults) {
    return new ServedModel(
        TestServer.MODEL,
        model,
        server.engine,
        ChatTemplate.of(server.tokenizer),
        defaults,
        model.sampling());
  }

  /** How many heads a request with this for {@code early_exit} asks. */
  private static int heads(ServedModel served, String earlyExit) {
    return asked(served, earlyExit).decoding().heads(served.model().decoder().allHeads()).size();
  }

  private static CompletionRequest asked(ServedModel served, String earlyExit) {
    ObjectNode body = HttpJson.object().put("prompt", "the cat");
    body.set("early_exit", TestServer.json(earlyExit));
    return new RequestReader(served, new Fields(body, "")).completion();
  }
}

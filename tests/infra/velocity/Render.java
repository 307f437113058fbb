import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.commons.lang.StringEscapeUtils;
import org.apache.velocity.VelocityContext;
import org.apache.velocity.app.VelocityEngine;
import org.apache.velocity.app.event.EventCartridge;
import org.apache.velocity.app.event.ReferenceInsertionEventHandler;

/**
 * Renders mapping templates on the real Apache Velocity, one JSON object a line in, one a line out.
 *
 * In: {"template": "...", "body": "...", "path": {}, "querystring": {}, "header": {}, "context": {}, "stageVariables": {}}
 * Out: {"text": "...", "override": {"header": {}, "status": 400}} or {"error": "..."}
 */
public class Render {
    public static class Util {
        public String escapeJavaScript(String text) { return StringEscapeUtils.escapeJavaScript(text); }
        public String base64Encode(String text) { return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8)); }
        public String base64Decode(String text) { return new String(Base64.getDecoder().decode(text), StandardCharsets.UTF_8); }
        public String urlEncode(String text) throws Exception { return URLEncoder.encode(text, "UTF-8"); }
        public String urlDecode(String text) throws Exception { return URLDecoder.decode(text, "UTF-8"); }
        public Object parseJson(String text) { return new Json(text).whole(); }
    }

    public static class Input {
        private final String body;
        private final Map<String, Object> params = new LinkedHashMap<>();

        Input(Map<String, Object> request) {
            String given = (String) request.get("body");
            body = given.isEmpty() ? "{}" : given;
            for (String kind : new String[] {"path", "querystring", "header"}) params.put(kind, request.get(kind));
        }

        public String getBody() { return body; }
        public Map<String, Object> params() { return params; }
        public String params(String name) {
            for (Object kind : params.values()) {
                Object value = ((Map<?, ?>) kind).get(name);
                if (value != null && !value.equals("")) return (String) value;
            }
            return "";
        }
    }

    public static void main(String[] arguments) throws Exception {
        VelocityEngine engine = new VelocityEngine();
        engine.setProperty("runtime.log.logsystem.class", "org.apache.velocity.runtime.log.NullLogChute");
        engine.setProperty("directive.foreach.maxloops", "1000");
        engine.init();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, true, "UTF-8");
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            Map<String, Object> answer = new LinkedHashMap<>();
            try {
                render(engine, (Map<String, Object>) new Json(line).whole(), answer);
            } catch (Throwable error) {
                answer.clear();
                answer.put("error", String.valueOf(error));
            }
            answers.println(Json.print(answer));
        }
    }

    private static void render(VelocityEngine engine, Map<String, Object> request, Map<String, Object> answer) {
        Map<String, Object> override = new LinkedHashMap<>();
        override.put("header", new LinkedHashMap<String, Object>());
        Map<String, Object> context = (Map<String, Object>) request.get("context");
        context.put("responseOverride", override);
        VelocityContext names = new VelocityContext();
        names.put("input", new Input(request));
        names.put("util", new Util());
        names.put("context", context);
        names.put("stageVariables", request.get("stageVariables"));
        EventCartridge events = new EventCartridge();
        // API Gateway prints nothing for null, where stock Velocity prints the reference itself.
        events.addEventHandler((ReferenceInsertionEventHandler) (reference, value) -> value == null ? "" : value);
        events.attachToContext(names);
        StringWriter text = new StringWriter();
        if (!engine.evaluate(names, text, "template", (String) request.get("template"))) {
            throw new IllegalStateException("not rendered");
        }
        answer.put("text", text.toString());
        answer.put("override", override);
    }

    /** JSON, as little as this protocol needs: strings, integers, booleans, null, arrays and objects. */
    static class Json {
        private final String text;
        private int at = 0;

        Json(String text) { this.text = text; }

        Object whole() {
            Object value = value();
            skip();
            if (at != text.length()) throw new IllegalArgumentException("JSON at " + at);
            return value;
        }

        private void skip() { while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++; }

        private boolean take(char wanted) {
            skip();
            if (at < text.length() && text.charAt(at) == wanted) { at++; return true; }
            return false;
        }

        private void expect(char wanted) { if (!take(wanted)) throw new IllegalArgumentException("JSON at " + at); }

        private Object value() {
            skip();
            if (take('{')) return object();
            if (take('[')) return array();
            if (take('"')) return string();
            int start = at;
            while (at < text.length() && "-+.0123456789abcdefghijklmnopqrstuvwxyzE".indexOf(text.charAt(at)) >= 0) at++;
            String word = text.substring(start, at);
            if (word.equals("null")) return null;
            if (word.equals("true") || word.equals("false")) return Boolean.valueOf(word);
            long number = Long.parseLong(word);
            if (number == (int) number) return (int) number;
            return number;
        }

        private Map<String, Object> object() {
            Map<String, Object> members = new LinkedHashMap<>();
            if (take('}')) return members;
            do {
                expect('"');
                String name = string();
                expect(':');
                members.put(name, value());
            } while (take(','));
            expect('}');
            return members;
        }

        private List<Object> array() {
            List<Object> elements = new ArrayList<>();
            if (take(']')) return elements;
            do elements.add(value()); while (take(','));
            expect(']');
            return elements;
        }

        private String string() {
            StringBuilder read = new StringBuilder();
            while (text.charAt(at) != '"') {
                char next = text.charAt(at++);
                if (next != '\\') { read.append(next); continue; }
                char escape = text.charAt(at++);
                int short_ = "bfnrt".indexOf(escape);
                if (escape == 'u') {
                    read.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                    at += 4;
                } else read.append(short_ < 0 ? escape : "\b\f\n\r\t".charAt(short_));
            }
            at++;
            return read.toString();
        }

        static String print(Object value) {
            if (value instanceof Map) {
                List<String> members = new ArrayList<>();
                for (Map.Entry<?, ?> member : ((Map<?, ?>) value).entrySet()) {
                    members.add(print(member.getKey()) + ":" + print(member.getValue()));
                }
                return "{" + String.join(",", members) + "}";
            }
            if (!(value instanceof String)) return String.valueOf(value);
            StringBuilder printed = new StringBuilder("\"");
            for (char next : ((String) value).toCharArray()) {
                if (next < 0x20 || next > 0x7e || next == '"' || next == '\\') printed.append(String.format("\\u%04x", (int) next));
                else printed.append(next);
            }
            return printed.append('"').toString();
        }
    }
}

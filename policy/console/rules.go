package console

func (s *server) ruleRoutes() {}
